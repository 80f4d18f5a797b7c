"""`softprompt forgetting`: what a task's own weights cost the network's knowledge of language."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from softprompt.cli.console import say, table, warn
from softprompt.cli.using import BackboneName, Device, Precision, load_prompt


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(forgetting)


def forgetting(
    prompt: Annotated[Path, typer.Argument(help="A prompt folder, or a run folder.")],
    texts: Annotated[Path, typer.Argument(help="Held texts that no training saw, one a line.")],
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="First so many texts.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of masks and bootstrap.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the figures there (JSON).")
    ] = None,
    backbone: BackboneName = None,
    device: Device = None,
    precision: Precision = "auto",
) -> None:
    """Measure the language-model loss of held texts and the label words' drift, before and after.

    A prompt leaves the network as it is, so both are 0; methods that train weights may forget.

    \b
    softprompt forgetting runs/lora wikipedia.txt
    softprompt forgetting runs/full wikipedia.txt --limit 500 --out forgetting.json
    """
    from softprompt.recipes.forgetting import audit, held_texts
    from softprompt.recipes.run_folder import write_text

    held = held_texts(texts, limit)
    loaded, model = load_prompt(prompt, backbone, device, precision)
    found = audit(model, loaded, held, seed=seed)
    loss = found.loss
    between = f"[{loss.interval.low:+.4f}, {loss.interval.high:+.4f}]"
    table(
        [
            (
                f"{loss.before:.4f}",
                f"{loss.after:.4f}",
                f"{loss.difference:+.4f}",
                between,
                f"{loss.texts:,}",
                f"{loss.tokens:,}",
            )
        ],
        (f"{found.objective} loss before", "after", "change", "95 % interval", "texts", "tokens"),
    )
    if found.words:
        table(
            [(w.word, f"{w.moved:.2g}", f"{w.length:.4f}", str(w.rank)) for w in found.words],
            ("label word", "1 − cosine", "length", "rank of itself"),
        )
    say(f"{loaded.method} on {model.name}; losses in nats per token, intervals over texts")
    if found.left_out:
        warn(f"{found.left_out} texts were too short and are left out")
    if out is not None:
        write_text(out, json.dumps(asdict(found), indent=2, ensure_ascii=False) + "\n")
