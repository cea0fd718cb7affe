"""Show the comparison: a picture, and a page that has the picture and the numbers in it."""

import argparse
import base64
import html
import json
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from sklearn.base import ClassifierMixin
from sklearn.metrics import ConfusionMatrixDisplay

from demo.compare import Metrics
from demo.dataset import Dataset
from demo.models import load

COLOURS = {"forest": "#1b7837", "boosting": "#762a83"}
MEASURES = ("accuracy", "f1", "log_loss", "roc_auc")
FEATURES_SHOWN = 10

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<style>
  body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }}
  table {{ border-collapse: collapse }}
  th, td {{ padding: .3rem 1rem; border-bottom: 1px solid #ccc; text-align: right }}
  th:first-child, td:first-child {{ text-align: left }}
  .best {{ font-weight: bold }}
  img {{ width: 100% }}
</style>
<h1>{title}</h1>
<p>Two models of the Wisconsin breast cancer dataset, trained on {train_rows} samples, measured on the
{test_rows} others. The better one, by log loss, is <b>{best}</b>.</p>
<table>
{table}
</table>
<p><img alt="ROC curves, confusion matrix, most important features" src="data:image/png;base64,{plot}"></p>
</html>
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--best", required=True, help="name of the better model")
    parser.add_argument("--dataset", type=Path, required=True, help="CSV file to read")
    parser.add_argument("--metrics", type=Path, required=True, help="JSON file to read")
    parser.add_argument("--model", type=Path, required=True, help="model to read: the better one")
    parser.add_argument("--plot", type=Path, required=True, help="PNG file to write")
    parser.add_argument("--page", type=Path, required=True, help="HTML file to write")
    args = parser.parse_args()

    dataset = Dataset.read(args.dataset)
    metrics: dict[str, Metrics] = json.loads(args.metrics.read_text())
    draw(args.plot, dataset=dataset, metrics=metrics, model=load(args.model), best=args.best)
    args.page.write_text(
        PAGE.format(
            title=html.escape(os.environ.get("CAIRN_RUN", "Report")),
            train_rows=len(dataset.part("train")[1]),
            test_rows=len(dataset.part("test")[1]),
            best=html.escape(args.best),
            table=table(metrics, args.best),
            plot=base64.b64encode(args.plot.read_bytes()).decode(),
        )
    )
    print(f"{args.best} is the better model: {args.plot}, {args.page}")


def table(metrics: dict[str, Metrics], best: str) -> str:
    rows = ["<tr><th>model" + "".join(f"<th>{measure.replace('_', ' ')}" for measure in MEASURES)]
    for name, measured in metrics.items():
        cells = "".join(f"<td>{measured[measure]:.4f}" for measure in MEASURES)
        rows.append(f"<tr{' class=best' if name == best else ''}><td>{html.escape(name)}{cells}")
    return "\n".join(rows)


def draw(path: Path, *, dataset: Dataset, metrics: dict[str, Metrics], model: ClassifierMixin, best: str) -> None:
    figure, (roc, confusion, importances) = plt.subplots(1, 3, figsize=(15, 4.6), layout="constrained")
    draw_roc(roc, metrics)
    samples, labels = dataset.part("test")
    ConfusionMatrixDisplay.from_estimator(model, samples, labels, ax=confusion, cmap="Greens", colorbar=False)
    confusion.set_title(f"{best}: {len(labels)} test samples")
    draw_importances(importances, model, dataset.features, COLOURS.get(best))
    figure.savefig(path, dpi=120)
    plt.close(figure)


def draw_roc(axes: Axes, metrics: dict[str, Metrics]) -> None:
    for name, measured in metrics.items():
        axes.plot(
            measured["false_positive_rate"],
            measured["true_positive_rate"],
            color=COLOURS.get(name),
            label=f"{name}: area {measured['roc_auc']:.4f}",
        )
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="chance")
    axes.set(title="ROC of the test samples", xlabel="false positive rate", ylabel="true positive rate")
    axes.legend(loc="lower right")


def draw_importances(axes: Axes, model: ClassifierMixin, features: list[str], colour: str | None) -> None:
    importances = np.asarray(model.feature_importances_)
    shown = np.argsort(importances)[-FEATURES_SHOWN:]
    axes.barh([features[index] for index in shown], importances[shown], color=colour)
    axes.set(title="Most important features", xlabel="importance")


if __name__ == "__main__":
    main()
