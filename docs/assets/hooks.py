"""Puts the documents of the repository into the site, at the paths that they have beside docs/.

A page links to them as on GitHub, for example `../../benchmarks/RESULTS.md`. On the site, one
`../` less is right, because there docs/ is the root.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[2]
DOCUMENTS = ["CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md", "benchmarks/RESULTS.md"]
PICTURES = "benchmarks/results/**/*.png"
LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")


def on_files(files, config):
    for path in [*(ROOT / name for name in DOCUMENTS), *ROOT.glob(PICTURES)]:
        name = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Links between docs/ and the documents beside it, as they are on the site."""
    name = page.file.src_uri
    is_beside = name in DOCUMENTS  # else the page is in docs/

    def on_site(link):
        target = posixpath.normpath(posixpath.join(posixpath.dirname(name), link[1]))
        if is_beside and target.startswith("docs/"):
            target = target.removeprefix("docs/")
        elif not is_beside and target.startswith("../"):
            target = target.removeprefix("../")
        else:
            return link[1]
        return posixpath.relpath(target, posixpath.dirname(name) or ".")

    return LINK.sub(on_site, markdown)
