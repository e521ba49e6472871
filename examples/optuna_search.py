"""Search a head with Optuna: where it starts from, its learning rate, its dropout; the best by the UA of the validation speakers.

python examples/optuna_search.py clips/ --trials 30 --output-dir search        (clips/happy/*.wav, ... or a manifest)

The encoders are frozen and hear each clip once, whatever the number of trials. Trials that are behind are given up early. The study is
an SQLite file: the same command goes on where it was stopped, and `--trials` counts those that are done. Speakers that you name with
`--test-speakers` are left out of all of it: measure the winner on them once, with `multimodal-ser evaluate`.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import optuna

from multimodal_ser import MultimodalEmotionClassifier
from multimodal_ser.corpora import read_manifest, write_manifest
from multimodal_ser.training import TrainingArguments, train


def main(
    data: str, output_dir: str, model: str | None, trials: int, epochs: int, test_speakers: list[str], seed: int
) -> optuna.Study:
    folder = Path(output_dir).absolute()
    rows = [row for row in read_manifest(data).rows if row.speaker not in test_speakers and row.split != "test"]
    table = write_manifest(rows, folder / "searched.csv")
    start = MultimodalEmotionClassifier.from_pretrained(model, whisper=None)
    start.model.audio_branch.encoder.save_pretrained(
        folder / "encoder"
    )  # for trials that put a new fusion on the same encoders
    start.processor.feature_extractor.save_pretrained(folder / "encoder")

    def objective(trial: optuna.Trial) -> float:
        head = trial.suggest_categorical(
            "head", ["checkpoint", "gated", "concatenated"]
        )  # fine-tuned, or new of either kind
        dropout = trial.suggest_float("dropout", 0.0, 0.5)
        config = {"fusion_dropout": dropout, "classifier_dropout": dropout} | (
            {} if head == "checkpoint" else {"combination": head}
        )
        args = TrainingArguments(
            data=[str(table)], output_dir=str(folder / f"trial-{trial.number}"), cache_dir=str(folder / "embeddings"), model=model,
            audio_model=None if head == "checkpoint" else str(folder / "encoder"), model_config=config, num_train_epochs=epochs,
            learning_rate=trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True), seed=seed, report_to=["none"], disable_tqdm=True,
        )  # fmt: skip

        def report(figures: dict[str, float]) -> None:
            trial.report(figures["ua"], figures["epoch"])
            if trial.should_prune():
                raise optuna.TrialPruned

        return train(args, on_epoch=report).validation["ua"]

    def keep_the_best(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        for other in folder.glob("trial-*"):
            if other.name != f"trial-{study.best_trial.number}":
                shutil.rmtree(other)

    study = optuna.create_study(
        storage=f"sqlite:///{folder / 'study.db'}", study_name="head", direction="maximize", load_if_exists=True
    )
    done = len(study.get_trials(states=(optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)))
    study.sampler = optuna.samplers.TPESampler(
        seed=seed + done
    )  # with the same seed, a second start would try the same again
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2)
    study.optimize(objective, n_trials=max(0, trials - done), callbacks=[keep_the_best])
    best = study.best_trial
    print(f"trial {best.number} of {len(study.trials)}: validation UA {100 * best.value:.1f} with {best.params}")
    print(f"the model: {folder / f'trial-{best.number}' / 'best'}")
    return study


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder with a folder per emotion, or a manifest")
    parser.add_argument("--output-dir", default="search")
    parser.add_argument("--model", help="checkpoint to start from (default: the one that ships in the package)")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--test-speakers", nargs="*", default=[], help="left out of everything")
    parser.add_argument("--seed", type=int, default=42)
    main(**vars(parser.parse_args()))
