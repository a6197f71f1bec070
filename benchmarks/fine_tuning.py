"""The paper's fine-tuning on five small datasets, in every framework with three seeds, compared with TF-IDF.

    python benchmarks/fine_tuning.py DATA --out results.jsonl

``DATA`` has the folders ``copa``, ``med``, ``sts-images``, ``sentence-polarity`` and ``subjectivity``. Each run is one
``gptcore train``; runs whose results are already in ``--out`` are skipped. Prints the table of
``docs/verified/fine-tuning.md``.
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy import sparse, stats
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from gptcore import DEFAULT_MODEL
from gptcore.training import read_log

BACKENDS = ("torch", "tf", "flax")
SEEDS = (0, 1, 2)


def labelled(folder, of_label, read=lambda line: {"text": line}):
    """The lines of one file for each label; every fifth is for testing."""
    rows = []
    for label, name in of_label.items():
        lines = (folder / name).read_text(encoding="utf-8").rstrip("\n").split("\n")
        rows += [{**read(line.strip()), "label": label} for line in lines]
    return split(rows)


def split(rows):
    return [row for i, row in enumerate(rows) if i % 5], rows[::5]


def polarity(data):
    return labelled(data / "sentence-polarity", {"negative": "rt-polarity.neg", "positive": "rt-polarity.pos"})


def subjectivity(data):
    return labelled(data / "subjectivity", {"objective": "plot.tok.gt9.5000", "subjective": "quote.tok.gt9.5000"})


def med(data):
    """The rows of one original sentence stay together, so that none of its variants is known from training."""
    with (data / "med" / "MED.tsv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    premises = {premise: i for i, premise in enumerate(dict.fromkeys(row["sentence1"] for row in table))}
    rows = [
        (
            premises[row["sentence1"]],
            {"premise": row["sentence1"], "hypothesis": row["sentence2"], "label": row["gold_label"]},
        )
        for row in table
    ]
    return [row for i, row in rows if i % 5], [row for i, row in rows if i % 5 == 0]


def images(data):
    def read(year):
        lines = (data / "sts-images" / f"images-{year}.tsv").read_text(encoding="utf-8").rstrip("\n").split("\n")
        cells = [line.split("\t") for line in lines]
        return [{"sentence1": first, "sentence2": second, "label": float(score)} for score, first, second in cells]

    return read(2014), read(2015)


def copa(data):
    def read(part):
        lines = (data / "copa" / f"copa-{part}.jsonl").read_text(encoding="utf-8").rstrip("\n").split("\n")
        for row in map(json.loads, lines):
            link = {"cause": "because", "effect": "so"}[row["question"]]
            choices = {name: row[name] for name in ("choice1", "choice2")}
            yield {"context": f"{row['premise'].rstrip('.')} {link}", **choices, "label": row["label"]}

    return list(read("dev")), list(read("test"))


DATASETS = {
    "sentence-polarity": ("classify", "accuracy", polarity),
    "subjectivity": ("classify", "accuracy", subjectivity),
    "med": ("entail", "accuracy", med),
    "sts-images": ("similarity", "pearson", images),
    "copa": ("choice", "accuracy", copa),
}


def baseline(task, training, test):
    """TF-IDF of words and pairs of words, and logistic regression; for similarity, the cosine of the two texts."""
    columns = [name for name in training[0] if name != "label"]
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+")
    vectors.fit([row[name] for row in training for name in columns])

    def of(rows, *names):
        return sparse.hstack([vectors.transform([row[name] for row in rows]) for name in names]).tocsr()

    if task == "similarity":
        cosines = np.asarray(of(test, columns[0]).multiply(of(test, columns[1])).sum(1)).ravel()
        return float(stats.pearsonr(cosines, [row["label"] for row in test]).statistic)
    model = LogisticRegression(max_iter=2000, C=10)
    if task == "choice":  # the difference of what the two choices add
        features = [of(rows, "choice2") - of(rows, "choice1") for rows in (training, test)]
    else:
        features = [of(rows, *columns) for rows in (training, test)]
    model.fit(features[0], [row["label"] for row in training])
    return float(model.score(features[1], [row["label"] for row in test]))


def fine_tune(task, metric, parts, backend, seed, model, settings, folder):
    """The metric on the test rows after the last epoch."""
    for name, rows in parts.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [sys.executable, "-W", "ignore", "-m", "gptcore", "train", task, folder / "training.jsonl"]
    command += ["--validation", folder / "test.jsonl", "--model", model, "--backend", backend]
    command += ["--output", folder / "run", "--quiet", f"--set=seed={seed}", *(f"--set={text}" for text in settings)]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    return read_log(folder / "run" / "log.jsonl")[-1][f"eval_{metric}"]


def table(results):
    """The results as Markdown, best to be read beside the baseline."""
    yield f"| dataset | metric | TF-IDF + linear | {' | '.join(BACKENDS)} |"
    yield f"|---|---|---:|{'---:|' * len(BACKENDS)}"
    for name, (_, metric, _) in DATASETS.items():
        of_dataset = [result for result in results if result["dataset"] == name]
        cells = []
        for who in ("baseline", *BACKENDS):
            values = [100 * result["value"] for result in of_dataset if result["who"] == who]
            spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.1f}{spread}" if values else "")
        yield f"| {name} | {metric} | {' | '.join(cells)} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="default: the bundled model")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dataset", action="append", choices=DATASETS)
    parser.add_argument(
        "--set", action="append", default=[], dest="settings", help="a hyperparameter, as in gptcore train --set"
    )
    arguments = parser.parse_args()
    results = [json.loads(line) for line in arguments.out.read_text().splitlines()] if arguments.out.exists() else []
    for name in arguments.dataset or DATASETS:
        task, metric, read = DATASETS[name]
        parts = dict(zip(("training", "test"), read(arguments.data), strict=True))
        for who, seed in (("baseline", 0), *((backend, seed) for seed in SEEDS for backend in BACKENDS)):
            key = {"dataset": name, "who": who, "seed": seed}
            if any(result.items() >= key.items() for result in results):
                continue
            if who == "baseline":
                value = baseline(task, **parts)
            else:
                with tempfile.TemporaryDirectory() as folder:
                    value = fine_tune(task, metric, parts, who, seed, arguments.model, arguments.settings, Path(folder))
            results.append({**key, "value": value})
            with arguments.out.open("a") as file:
                file.write(json.dumps(results[-1]) + "\n")
            print(results[-1], flush=True)
    print("\n".join(table(results)))


if __name__ == "__main__":
    main()
