"""The commands `push` and `pull`, for checkpoints on the Hugging Face Hub."""

from __future__ import annotations

import argparse

from multimodal_ser._progress import say
from multimodal_ser.cli.options import Commands, add_command


def push(args: argparse.Namespace) -> int:
    """Upload a checkpoint to the Hugging Face Hub: model, processor and card in one commit."""
    from multimodal_ser.hub import push as push_folder

    result = push_folder(
        args.folder,
        args.repo_id,
        report=args.report,
        private=args.private,
        revision=args.revision,
        create_pr=args.create_pr,
        commit_message=args.commit_message,
    )
    print(result.pr_url or result.commit_url)  # noqa: T201
    return 0


def pull(args: argparse.Namespace) -> int:
    """Download a checkpoint from the Hugging Face Hub into a folder: safetensors, settings and
    vocabularies, no code.
    """
    from multimodal_ser.hub import pull as pull_folder

    result = pull_folder(
        args.repo_id, args.output_dir, revision=args.revision, subfolder=args.subfolder, also=args.also
    )
    if result.left_out:
        more = f" and {len(result.left_out) - 5} more" if len(result.left_out) > 5 else ""
        say(f"left out, as no checkpoint needs it: {', '.join(result.left_out[:5])}{more}")
    print(f"{result.folder} (commit {result.commit})")  # noqa: T201
    return 0


def add(commands: Commands) -> None:
    """Add these commands to the command line."""
    sub = add_command(commands, push)
    sub.add_argument("folder", metavar="MODEL", help="folder of the checkpoint")
    sub.add_argument(
        "repo_id", metavar="REPO_ID", help="target repository, user/model; it is created if it does not exist"
    )
    sub.add_argument(
        "--private", action="store_true", default=None, help="make a new repository visible to its owners alone"
    )
    sub.add_argument(
        "--revision", metavar="BRANCH", help="branch to push to, which is created if it does not exist (default: main)"
    )
    sub.add_argument("--create-pr", action="store_true", help="open a pull request instead")
    sub.add_argument("--commit-message", metavar="TEXT", help='one line (default: "Upload model")')
    sub.add_argument(
        "--report", metavar="FILE", help="report.json of multimodal-ser evaluate, with figures for the card"
    )

    sub = add_command(commands, pull)
    sub.add_argument("repo_id", metavar="REPO_ID", help="source repository: user/model")
    sub.add_argument("-o", "--output-dir", required=True, metavar="DIR", help="folder for the checkpoint; new or empty")
    sub.add_argument("--revision", metavar="NAME", help="branch, tag or commit (default: main)")
    sub.add_argument("--subfolder", default="", metavar="FOLDER", help="folder of the checkpoint in the repository")
    sub.add_argument(
        "--also",
        nargs="*",
        default=[],
        metavar="PATTERN",
        help='more files to download, such as "*.py"; they are not run',
    )
