"""The one exception that is meant for the person at the keyboard."""


class UserError(Exception):
    """A mistake in the input: the message says what is wrong, where, and what would be right.

    The stages and the command line print the message without a traceback and exit with status 1; any other
    exception is a defect of this software and keeps its traceback.
    """
