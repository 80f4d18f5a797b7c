"""Tiny files in the official layouts of the benchmarks, written by the tests: no sentence is theirs."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

N = 8
"""Rows of each file; labels in turn."""


def write_all(root: Path) -> Path:
    """Every file that an entry of `known_tasks.py` names, below a folder."""
    for write in (_glue, _super_glue, _lm_bff, _fewclue, _reviews, _pet, _questions, _generation):
        write(root)
    return root


def _text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _tsv(path: Path, header: Sequence[str] | None, rows: Iterable[Sequence[Any]]) -> None:
    lines = ["\t".join(map(str, row)) for row in ([header] if header else []) + list(rows)]
    _text(path, "\n".join(lines) + "\n")


def _jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    _text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _glue(root: Path) -> None:
    glue = root / "glue"
    for part in ("train", "dev"):
        cola = [("x01", n % 2, "", f"a {part} sentence {n}") for n in range(N)]
        _tsv(glue / f"CoLA/{part}.tsv", None, cola)
        _tsv(
            glue / f"SST-2/{part}.tsv",
            ("sentence", "label"),
            [(f"film {n} ", n % 2) for n in range(N)],
        )
        quora = ("id", "qid1", "qid2", "question1", "question2", "is_duplicate")
        pairs = [(n, n, n, f'what is "{n}', f"{part} {n}", n % 2) for n in range(N)]
        _tsv(glue / f"QQP/{part}.tsv", quora, pairs)
        stsb = ("index", "genre", "filename", "year", "old_index", "source1", "source2")
        scored = [(n, *"gfyoab", f"one {n}", f"{part} {n}", n * 5 / (N - 1)) for n in range(N)]
        _tsv(glue / f"STS-B/{part}.tsv", (*stsb, "sentence1", "sentence2", "score"), scored)
        two = [(n, f"first {n}", f"{part} {n}", _entails(n)) for n in range(N)]
        _tsv(glue / f"RTE/{part}.tsv", ("index", "sentence1", "sentence2", "label"), two)
        _tsv(glue / f"QNLI/{part}.tsv", ("index", "question", "sentence", "label"), two)
        _tsv(
            glue / f"WNLI/{part}.tsv",
            ("index", "sentence1", "sentence2", "label"),
            [(n, f"first {n}", f"{part} {n}", n % 2) for n in range(N)],
        )
        _mrpc(glue / f"MRPC/{part}.tsv", part)
    _tsv(glue / "RTE/test.tsv", ("index", "sentence1", "sentence2"), [(0, "hidden", "row")])
    for part in ("train", "dev_matched", "dev_mismatched"):
        _nli(glue / f"MNLI/{part}.tsv", part)
    _mrpc(root / "mrpc/msr_paraphrase_train.txt", "train")
    _mrpc(root / "mrpc/msr_paraphrase_test.txt", "test")


def _entails(n: int) -> str:
    return ("entailment", "not_entailment")[n % 2]


def _mrpc(path: Path, part: str) -> None:
    rows = [(n % 2, n, n, f'he said "{n}', f"{part} {n}") for n in range(N)]
    _tsv(path, ("\ufeffQuality", "#1 ID", "#2 ID", "#1 String", "#2 String"), rows)


def _nli(path: Path, part: str, annotators: int = 1) -> None:
    labels = ("entailment", "neutral", "contradiction")
    rows = [
        (n, "g", f"premise {n}.", f"The {part} {n}", *["-"] * annotators, labels[n % 3])
        for n in range(N + 1)
    ]
    _tsv(path, ("index", "genre", "sentence1", "sentence2", "label1", "gold_label"), rows)


def _super_glue(root: Path) -> None:
    made = {
        "BoolQ": lambda n: {"passage": f"Facts {n}", "question": "is it so", "label": n % 2 == 1},
        "CB": lambda n: {
            **{"premise": f"He said {n}.", "hypothesis": f"it is {n}"},
            "label": ("entailment", "contradiction", "neutral")[n % 3],
        },
        "COPA": lambda n: {
            **{"premise": f"It fell {n}.", "choice1": f"The wind blew {n}.", "choice2": "I slept."},
            **{"question": ("cause", "effect")[n % 2], "label": n % 2},
        },
        "MultiRC": multirc_passage,
        "ReCoRD": record_passage,
        "RTE": lambda n: {"premise": f"P {n}.", "hypothesis": f"H {n}", "label": _entails(n)},
        "WiC": lambda n: {
            **{"word": "run", "sentence1": f"I run {n}.", "sentence2": "A run of luck."},
            "label": n % 2 == 1,
        },
        "WSC": lambda n: {
            "text": f"Old Ann saw Bo because she, number {n}, looked.",
            "target": {"span1_index": 1, "span1_text": "Ann"}
            | {"span2_index": 5, "span2_text": "she"},
            "label": n % 2 == 0,
        },
    }
    for name, row in made.items():
        for part in ("train", "dev32", "val", "unlabeled"):
            rows = [{**row(n), "idx": n} for n in range(25 if name == "ReCoRD" else N + 1)]
            if part == "unlabeled":
                rows = [{k: v for k, v in one.items() if k != "label"} for one in rows]
            _jsonl(root / "superglue" / name / f"{part}.jsonl", rows)


def multirc_passage(n: int) -> dict[str, Any]:
    """A passage with two questions of two answers each."""
    answers = [{"text": f"yes {n}", "label": 1}, {"text": f"no {n}", "label": 0}]
    questions = [{"question": f"Question {q}?", "answers": answers, "idx": q} for q in (0, 1)]
    return {"idx": n, "passage": {"text": f"<b>Sent 1: </b>Story {n}<br>", "questions": questions}}


def record_passage(n: int) -> dict[str, Any]:
    """A passage with three entities, two of them right; ends are inclusive, as ReCoRD has them."""
    text = f"Ann met Bob {n}\n@highlight\nBobby came"
    named = [(0, 2), (8, 10), (text.index("Bobby"), text.index("Bobby") + 4)]
    golds = [{"start": s, "end": e, "text": text[s : e + 1]} for s, e in named[1:]]
    query = {"query": "Then @placeholder's story ended", "idx": 7, "answers": golds}
    entities = [{"start": s, "end": e} for s, e in named]
    return {"idx": n, "passage": {"text": text, "entities": entities}, "qas": [query]}


def _k_shot(root: Path, seed: int, part: str, task: str, ending: str) -> Path:
    return root / f"lm_bff_k_shot/{task}/16-{seed}/{part}.{ending}"


def _lm_bff(root: Path) -> None:
    for seed in (13, 100):
        for part in ("train", "dev", "test"):
            at = partial(_k_shot, root, seed, part)
            for task, labels in {
                "mr": 2,
                "cr": 2,
                "mpqa": 2,
                "subj": 2,
                "trec": 6,
                "sst-5": 5,
            }.items():
                cells = io.StringIO()
                csv.writer(cells).writerows((n % labels, f"{task}, {part} {n}") for n in range(12))
                _text(at(task, "csv"), cells.getvalue())
            _tsv(at("SST-2", "tsv"), ("sentence", "label"), [(f"f {n}", n % 2) for n in range(N)])
            _tsv(at("CoLA", "tsv"), None, [("x", n % 2, "*", f"s {n}") for n in range(N)])
            _mrpc(at("MRPC", "tsv"), part)
            two = [(n, f"first {n}?", f"Second {n}", _entails(n)) for n in range(N)]
            _tsv(at("RTE", "tsv"), ("index", "sentence1", "sentence2", "label"), two)
            _tsv(at("QNLI", "tsv"), ("index", "question", "sentence", "label"), two)
            quora = [(n, f"what {n}", f"which {n}", n % 2) for n in range(N)]
            _tsv(at("QQP", "tsv"), ("id", "question1", "question2", "is_duplicate"), quora)
            scored = [(n, f"one {n}", f"two {n}", n * 5 / (N - 1)) for n in range(N)]
            _tsv(at("STS-B", "tsv"), ("index", "sentence1", "sentence2", "score"), scored)
            _nli(at("SNLI", "tsv"), part, annotators=5)  # more cells than its header has names
        for part in ("train", "dev_matched", "test_matched", "test_mismatched"):
            _nli(root / f"lm_bff_k_shot/MNLI/16-{seed}/{part}.tsv", part)


def _fewclue(root: Path) -> None:
    nli = ("entailment", "neutral", "contradiction")
    made = {
        "eprstmt": lambda n: {"sentence": f"商品{n}", "label": ("Negative", "Positive")[n % 2]},
        "tnews": lambda n: {
            "sentence": f"新闻{n}",
            "label_desc": ("news_story", "news_car")[n % 2],
        },
        "ocnli": lambda n: {"sentence1": f"天气{n}。", "sentence2": "下雨", "label": nli[n % 3]},
        "csl": lambda n: {"abst": f"摘要{n}", "keyword": ["词一", "词二"], "label": str(n % 2)},
        "cluewsc": lambda n: {
            "text": f"小明说他累{n}",
            "target": {"span1_index": 0, "span1_text": "小明"}
            | {"span2_index": 3, "span2_text": "他"},
            "label": ("true", "false")[n % 2],
        },
        "chid": lambda n: {
            "content": f"他{n}#idiom#地走了",
            **{"candidates": ["一心一意", "三心二意"], "answer": n % 2},
        },
        "bustm": lambda n: {"sentence1": f"你好{n}", "sentence2": "您好", "label": str(n % 2)},
        "csldcp": lambda n: {"content": f"论文{n}", "label": ("数学", "哲学")[n % 2]},
        "iflytek": lambda n: {"sentence": f"应用{n}", "label_des": ("打车", "地图")[n % 2]},
    }
    for name, row in made.items():
        parts = (
            "train_few_all",
            "test_public",
            *(f"{s}_{k}" for s in ("train", "dev") for k in range(5)),
        )
        for part in parts:
            _jsonl(root / f"fewclue/{name}/{part}.json", [{**row(n), "id": n} for n in range(10)])
        _text(root / f"fewclue/{name}/unlabeled.json", "")  # CLUEWSC's is empty


def _reviews(root: Path) -> None:
    for part in ("train", "dev", "test"):
        for name, labels in (("aclImdb", 2), ("yelp_review", 5)):
            rows = {str(n): {"ori": f"place {n}", "label": str(n % labels)} for n in range(15)}
            _text(root / f"reviews/{name}/{part}.json", json.dumps(rows, indent=4))
    rows = "".join(f'{n % 2},"房间{n}, 好"\n' for n in range(20))
    _text(root / "chinese_reviews/hotel.csv", "label,review\n1,\n" + rows)
    for name in ("mnli", "snli"):
        lines = "premise,hypothesis,label\nA man sleeps.,He is awake,contradiction\n"
        _text(root / f"nli_dev/{name}/dev.csv", lines)
    for name, rows in (
        ("sst2/train.tsv", "sentence\tlabel\n" + "fine \t1\ndull \t0\n"),
        ("sst2/dev.tsv", "sentence\tlabel\ngood\t1\n"),
        ("sst2/test-labeled.tsv", "sentence\tlabel\nbad\t0\n"),
        (
            "ag_news/train.tsv",
            "".join(f"news {n}\t{t}\n" for n in range(9) for t in ("World", "Sports")),
        ),
        ("ag_news/test.csv", '"3","Title","A\\\\text"\n'),
    ):
        _text(root / name, rows)


def _pet(root: Path) -> None:
    """Yahoo's questions with line ends as Zhang et al. write them; x-stance in two languages."""
    for part in ("train", "test"):
        asked = io.StringIO()
        writer = csv.writer(asked, quoting=csv.QUOTE_ALL, lineterminator="\n")
        for n in range(20):
            writer.writerow((n % 10 + 1, f"why {part} {n}", "" if n % 2 else r"since\nthen", "so"))
        _text(root / f"yahoo_answers/{part}.csv", asked.getvalue())
    for part in ("train", "valid", "test"):
        rows = [
            {
                "question": f"Frage {n}",
                "id": n,
                "question_id": n,
                "language": ("de", "fr", "it")[n % 3],
                "comment": f"{part} {n}",
                "label": ("FAVOR", "AGAINST")[n // 3 % 2],
            }
            for n in range(3 * N)
        ]
        _jsonl(root / f"x_stance/{part}.jsonl", rows)


def _questions(root: Path) -> None:
    paragraphs = [
        {
            "context": f"Paragraph {n} tells of Rome and 罗马{n}.",
            "qas": [
                {
                    "id": f"{n}-{q}",
                    "question": f"Where is {q}?",
                    "answers": [{"text": "Rome", "answer_start": 21}] * 2 if q < 2 else [],
                }
                for q in range(3)  # the last one has no answer
            ],
        }
        for n in range(20)
    ]
    text = json.dumps({"version": "1.1", "data": [{"title": "T", "paragraphs": paragraphs}]})
    for name in (
        *("train-v1.1", "dev-v1.1", "squad_half_dev_v2", "covidqa", "xquad.en", "xquad.zh"),
        *("cmrc2018_train", "cmrc2018_dev"),
    ):
        _text(root / f"question_answering/{name}.json", text)
    from softprompt.data.tasks.question_answering import IN_DOMAIN, OUT_OF_DOMAIN

    lines = [{"header": {"dataset": "X", "split": "train"}}]
    for n in range(20):
        ask = {"qid": f"q{n}", "question": f"Who {n}?", "answers": ["Ann", "Ann", "her"]}
        lines.append({"context": f"Ann {n}", "qas": [{**ask, "detected_answers": []}]})
    packed = gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode())
    for title in (*IN_DOMAIN.values(), *OUT_OF_DOMAIN.values()):
        for part in ("train", "dev"):
            path = root / f"mrqa/{part}/{title}.jsonl.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(packed)


def _generation(root: Path) -> None:
    for code in ("de", "fr", "ro"):
        for part in ("train", "dev", "test"):
            for ending, word in (("en", "house"), (code, "Haus")):
                lines = "".join(f"{word} {n}\n" for n in range(N))
                _text(root / f"wmt/en-{code}/{part}.{ending}", lines)
    for part in ("train", "val", "test"):
        for ending, word in (("source", "long article"), ("target", "summary")):
            _text(
                root / f"cnn_dailymail/{part}.{ending}", "".join(f"{word} {n}\n" for n in range(N))
            )
    for part in ("train", "valid", "test"):
        lines = "".join(f"name : X{n // 2}||Text {n} of it .\n" for n in range(2 * N))
        _text(root / f"data_to_text/e2e_{part}.txt", lines)


def write_lama(root: Path) -> Path:
    """Three relations, facts of two of them; one fact stands twice, one object is several tokens."""
    texts = {"P1": "[X] was [Y] .", "P2": "[Y] is what [X] is", "P3": "[X] or [Y]"}
    rows = [{"relation": k, "template": t, "label": k, "type": "N-1"} for k, t in texts.items()]
    _jsonl(root / "relations.jsonl", rows)
    facts = [("the film", "good"), ("the plot", "dull"), ("the plot", "dull")]
    facts.append(("the plot", "unknownly"))
    for name, pairs in (("P1", facts), ("P2", [("a film", "funny")])):
        _jsonl(root / f"{name}.jsonl", [{"sub_label": s, "obj_label": o} for s, o in pairs])
    return root
