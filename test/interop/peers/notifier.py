"""A notifier of oslo.messaging."""

import oslo_messaging

import lines


def notify(command):
    url, exchange = command['url'], command['exchange']
    transport = lines.transport(oslo_messaging.get_notification_transport, url, control_exchange=exchange)
    notifier = oslo_messaging.Notifier(
        transport,
        publisher_id=command.get('publisher_id', 'compute.peer'),
        driver=command.get('driver', 'messagingv2'),
        topics=[command['topic']],
    )
    send = getattr(notifier, command['priority'])
    send(command.get('context', {}), command['event_type'], lines.value_of(command, 'payload'))


lines.configure()
lines.serve({'notify': notify})
