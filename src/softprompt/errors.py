"""The one exception tree: what went wrong, in the user's words.

Every message says what, where (file, line, field or column), what was expected, what was found,
and what to do. The command line prints the message alone and exits with `exit_code`.
"""

from __future__ import annotations


class SoftpromptError(Exception):
    """Anything that a user should read as a sentence, not as a traceback."""

    exit_code = 1


class UsageError(SoftpromptError):
    """Wrong use or bad input: the user can put it right."""

    exit_code = 2


class TemplateError(UsageError):
    """A template that cannot be read or rendered.

    Args:
        message: what was expected and what stands there.
        source: the template as written, shown with a caret under the column.
        column: 1-based column in `source`, or None where no column applies.
    """

    def __init__(self, message: str, source: str | None = None, column: int | None = None):
        self.source, self.column = source, column
        if source is not None and column is not None:
            message = f"template, column {column}: {message}\n  {source}\n  {' ' * (column - 1)}^"
        super().__init__(message)


class DataError(UsageError):
    """Data that cannot be read as the task says.

    Args:
        message: what was expected and what was found.
        file, line, field: where; line is 1-based and counts as a text editor does.
    """

    def __init__(
        self,
        message: str,
        file: str | None = None,
        line: int | None = None,
        field: str | None = None,
    ):
        self.file, self.line, self.field = file, line, field
        where = [file or ""] if file else []
        where += [f"line {line}"] if line is not None else []
        where += [f"field '{field}'"] if field is not None else []
        super().__init__(": ".join([", ".join(where), message] if where else [message]))


class SettingsError(UsageError):
    """A setting that is unknown, of the wrong type, or at odds with another."""


class BackboneError(UsageError):
    """A model that cannot be loaded, or cannot do what is asked of it."""


class PromptError(UsageError):
    """A prompt that cannot be read, or does not fit the backbone."""


class RunError(SoftpromptError):
    """A run that had to stop: not a number, no space left, interrupted."""


class MemoryShortage(RunError):
    """A single example does not fit into the memory: a smaller input or model is needed."""

    exit_code = 2
