"""The errors that end a command with one line instead of a traceback."""


class InputError(ValueError):
    """Something the user gave cannot be used; the message names file, field and remedy."""


class InputWarning(UserWarning):
    """Something the user gave can be used, but hardly is what was meant; the message names the remedy."""


class TrainingDiverged(RuntimeError):
    """The loss or its gradient is not finite; the message names the step and the clips of the batch."""
