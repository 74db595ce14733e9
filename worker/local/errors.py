"""What can go wrong here, in words for the person at the keyboard."""


class LocalServicesError(Exception):
    """The local servers cannot do what was asked. The text says why and what to do."""
