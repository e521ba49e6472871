"""Provides corpora: tables and folders of labelled recordings and texts, their readers, and ways to split them."""

from multimodal_ser.corpora.leakage import Leak, content_hashes, find_leaks
from multimodal_ser.corpora.manifest import read_manifest, write_manifest
from multimodal_ser.corpora.protocols import Fold, folds
from multimodal_ser.corpora.recordings import check_recordings
from multimodal_ser.corpora.registry import CORPORA, Corpus, read_corpus
from multimodal_ser.corpora.rows import Manifest, ManifestRow
from multimodal_ser.corpora.splits import Split, split_rows

__all__ = [
    "CORPORA", "Corpus", "Fold", "Leak", "Manifest", "ManifestRow", "Split", "check_recordings", "content_hashes", "find_leaks", "folds",
    "read_corpus", "read_manifest", "split_rows", "write_manifest",
]  # fmt: skip
