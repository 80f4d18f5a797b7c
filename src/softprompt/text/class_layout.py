"""What a network is asked where learned class vectors answer: one row, read at one position.

That is where its answer would begin: the mask of a masked model, the last position before the answer of
a causal model or of a decoder. What a template puts behind the answer slot a causal model never sees.
Knows ids only. A negative token −1−c stands for class vector c.
"""

from __future__ import annotations

from collections.abc import Sequence

from softprompt.errors import TemplateError
from softprompt.text.layout import Frame, continuation, lay_out
from softprompt.text.query import Query, Read
from softprompt.text.render import TokenPiece
from softprompt.text.template import Answer, DecoderStart, Soft, Template


def lay_out_classes(
    main: Sequence[TokenPiece], decoder: Sequence[TokenPiece] | None, count: int, frame: Frame
) -> Query:
    """The query that scores every class.

    Args:
        main: token pieces of the main sequence.
        decoder: token pieces of the decoder's, or None.
        count: how many classes.
    Raises:
        TemplateError: nothing stands before the answer of a causal model.
    """
    if frame.family == "masked":
        (query,) = lay_out(main, decoder, [((0,),)], frame)
        (read,) = query.reads
        return Query(query.ids, query.segments, _reads(read.positions, count))
    source = continuation(main, decoder, frame)
    if frame.family == "encoder_decoder":
        reads = _reads((len(source.decoder) - 1,), count)
        return Query(source.ids, source.segments, reads, source.decoder)
    if not source.ids:
        raise TemplateError(
            "nothing stands before the answer slot and this tokenizer has no start token: a causal "
            "backbone needs text or learned rows before {mask}"
        )
    return Query(source.ids, source.segments, _reads((len(source.ids) - 1,), count))


def check_rows_are_read(template: Template, frame: Frame) -> None:
    """Refuse learned rows that no class vector could see.

    Raises:
        TemplateError: rows behind the answer slot of a causal model or of a decoder.
    """
    parts = template.parts
    slot = next((n for n, part in enumerate(parts) if isinstance(part, Answer)), len(parts))
    in_decoder = any(isinstance(part, DecoderStart) for part in parts[:slot])
    forward = frame.family == "causal" or in_decoder
    if forward and any(isinstance(part, Soft) for part in parts[slot:]):
        raise TemplateError(
            f"learned rows behind {{mask}} in '{template}': expected them before it, because class "
            "vectors read what stands before the answer, and nothing there has seen these rows"
        )


def _reads(positions: tuple[int, ...], count: int) -> tuple[Read, ...]:
    return tuple(Read(number, positions, (-1 - number,)) for number in range(count))
