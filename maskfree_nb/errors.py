"""The one error that bad input raises."""


class InputError(ValueError):
    """Something the user gave cannot be used; the message names file, field and remedy.

    The command line prints it without a traceback.
    """
