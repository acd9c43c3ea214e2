"""Exceptions in Nova's manner: a text of the class, filled in from keywords, which are kept."""


class NovaException(Exception):
    msg_fmt = 'An unknown exception occurred.'

    def __init__(self, message=None, **kwargs):
        self.kwargs = kwargs
        super().__init__(message or self.msg_fmt % kwargs)


class InstanceNotFound(NovaException):
    msg_fmt = 'Instance %(instance_id)s could not be found.'


class NoValidHost(NovaException):
    msg_fmt = 'No valid host was found. %(reason)s'


class Unheard(NovaException):
    """Of no name that the other side knows."""
