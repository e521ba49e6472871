"""Corpora: tables and folders of labelled recordings and texts, and which of their rows may be learned from."""

from multimodal_ser.corpora.manifest import Manifest, ManifestRow, read_manifest
from multimodal_ser.corpora.splits import Split, split_rows

__all__ = ["Manifest", "ManifestRow", "Split", "read_manifest", "split_rows"]
