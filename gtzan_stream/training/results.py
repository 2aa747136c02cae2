"""Write the results of a run: model.pt2, metrics.jsonl and the report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.markdown import Markdown

from gtzan_stream.atomic import write_text
from gtzan_stream.evaluation import Evaluation
from gtzan_stream.inference import export
from gtzan_stream.training import device, report, report_page
from gtzan_stream.training.display import Display


def write(run: Any, loader: Evaluation, test: dict[str, Any], skipped: Sequence[str]) -> Path:
    """Write a run's model and report, and print the results.

    Parameters
    ----------
    run : Run
        With the network that was tested.
    loader : Evaluation
        The evaluation of the test.
    test : dict
        Summary of the test.
    skipped : sequence of str
        Errors of the examples that were skipped, on all ranks.

    Returns
    -------
    Path
        The report to read.
    """
    run.write_history()
    settings = run.config.to_dict()
    with Display(run.console) as display:
        display.begin(f"exporting {export.MODEL}")
        export.write(run.folder / export.MODEL, run.network, loader.features, labels=run.labels, config=settings)
    content = {
        "run": run.folder.name,
        "config": settings,
        "data": {"labels": run.labels, **report.describe_data(run.train_loader, str(run.config.split))},
        "model": {"name": run.config.model, "parameters": run.n_parameters},
        "machine": {"device": device.describe(run.device), "torch": torch.__version__},
        "versions": report.versions(),
        "training": {
            **run.progress.summary(),
            "stopped": "the learning rate is below its floor" if run.schedule.finished else "all steps are done",
        },
        "valid": run.progress.best,
        "test": test,
        "skipped": skipped,
    }
    report.write_json(run.folder / "report.json", content)
    run.console.print(Markdown(report.results(content)))
    with Display(run.console) as display:
        display.begin("writing the report")
        path: Path = run.folder / report.REPORT
        if run.config.shards is None:
            sounds = report_page.without_sounds(test["most_wrong"])
        else:
            sounds = report_page.most_wrong(test["most_wrong"], run.train_loader, loader)
        write_text(path, report_page.page(content, run.progress.history, sounds))
    return path
