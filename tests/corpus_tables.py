"""What the tests of corpora share: tables and trees of files as people have them."""


def table(folder, text, name="manifest.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def tree(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def errors_of(manifest):
    return [str(error) for error in manifest.errors]


def voices(rows, part):
    return {rows[index].speaker for index in part}


def labels(rows, part):
    return {rows[index].label for index in part}
