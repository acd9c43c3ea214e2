"""Notification listeners of oslo.messaging: plain, of a pool, or by batches. What they get, they tell as events."""

import threading

import oslo_messaging

import lines

_listeners = []
_asked = set()


def wants_requeue(payload, metadata):
    """Once for each message that says so, when it comes for the first time."""
    asks = isinstance(payload, dict) and payload.get('requeue') and metadata['message_id'] not in _asked
    _asked.add(metadata['message_id'])
    return asks


def one_by_one(name, priority):
    def endpoint(self, ctxt, publisher_id, event_type, payload, metadata):
        facts = {'ctxt': ctxt, 'publisher_id': publisher_id, 'event_type': event_type}
        lines.event('notified', listener=name, priority=priority, payload=payload, metadata=metadata, **facts)
        if wants_requeue(payload, metadata):
            return oslo_messaging.NotificationResult.REQUEUE
        return oslo_messaging.NotificationResult.HANDLED

    return endpoint


def by_batches(name, priority):
    def endpoint(self, messages):
        lines.event('batch', listener=name, priority=priority, messages=messages)
        asks = [wants_requeue(each['payload'], each['metadata']) for each in messages]
        if any(asks):
            return oslo_messaging.NotificationResult.REQUEUE
        return oslo_messaging.NotificationResult.HANDLED

    return endpoint


def start(command):
    url, exchange, name = command['url'], command['exchange'], command['listener']
    transport = lines.transport(oslo_messaging.get_notification_transport, url, control_exchange=exchange)
    targets = [oslo_messaging.Target(exchange=exchange, topic=command['topic'])]
    batch = command.get('batch')
    methods = {each: (by_batches if batch else one_by_one)(name, each) for each in command['priorities']}
    endpoint = type('Endpoint', (), methods)()
    options = {'executor': 'threading', 'allow_requeue': True, 'pool': command.get('pool')}
    if batch:
        make = oslo_messaging.get_batch_notification_listener
        options.update(batch_size=batch['size'], batch_timeout=batch['timeout'])
    else:
        make = oslo_messaging.get_notification_listener
    listener = make(transport, targets, [endpoint], **options)
    listener.start()
    _listeners.append((command['exchange'], listener))


def stop(command):
    """Those of an exchange, orderly and all at once."""
    ending = [listener for exchange, listener in _listeners if exchange == command['exchange']]
    stopping = [threading.Thread(target=lambda each=each: (each.stop(), each.wait())) for each in ending]
    for thread in stopping:
        thread.start()
    for thread in stopping:
        thread.join()


lines.configure()
lines.serve({'start': start, 'stop': stop})
