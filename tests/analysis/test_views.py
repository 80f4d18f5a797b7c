from __future__ import annotations

from softprompt.analysis.views import Position, QueryView, view_queries
from softprompt.backbones.backbone import Backbone
from softprompt.inference.applied import apply
from softprompt.inference.objective import ObjectiveSettings, resolve_objective
from softprompt.text.answers import Verbalizer
from softprompt.text.template import parse


def test_an_example_is_shown_as_the_model_sees_it(backbone: Backbone) -> None:
    answers = Verbalizer.read({"good": "great", "bad": "dull"})
    applied = apply(
        backbone,
        parse("{soft:2}{text} {mask}!"),
        answers,
        resolve_objective(ObjectiveSettings(), backbone.family, False),
        n_rows=2,
    )
    (view,) = view_queries(applied, applied.renderer.score({"text": "a film"}).queries)
    pieces = [position.piece for position in view.main]
    assert pieces == ["[CLS]", "[P1]", "[P2]", "a", "film", "[MASK]", "!", "[SEP]"]
    assert [p.id is None for p in view.main] == [False, True, True, *[False] * 5]
    assert view.main[5].reads == ("great", "dull")
    assert all(not p.reads for n, p in enumerate(view.main) if n != 5)


def test_long_runs_of_rows_are_shortened_in_one_line() -> None:
    rows = [Position(f"[P{n}]", None) for n in range(1, 21)]
    view = QueryView((Position("[CLS]", 0), *rows, Position("x", 7)))
    assert view.line() == "[CLS] [P1] [P2] … [P20] x"


def test_few_rows_and_rows_apart_are_all_shown() -> None:
    rows = [Position(f"[P{n}]", None) for n in range(1, 9)]
    apart = QueryView((*rows[:4], Position("x", 7), *rows[4:]))
    assert apart.line() == "[P1] [P2] [P3] [P4] x [P5] [P6] [P7] [P8]"
