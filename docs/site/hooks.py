"""What the documentation site adds to the pages in docs/: pages from elsewhere in the repository, and generated ones.

The same files are read on their own in the repository. So their links are such as lead somewhere there, and are turned here:
to the page that a file has become, or to a copy of the file.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from reference import generated_pages

ROOT = Path(__file__).parents[2]
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "charts/cairn/README.md": "reference/chart-cairn.md",
    "charts/mlflow/README.md": "reference/chart-mlflow.md",
    "charts/release/README.md": "reference/release.md",
    "manifests/demo/README.md": "demo.md",
    "manifests/install/README.md": "install-with-kubectl.md",
    "tests/bench/README.md": "benchmarks/how.md",
    "tests/kfp/README.md": "benchmarks/kubeflow-backend.md",
}
"""Which files outside of docs/ are pages, and where."""
SAMPLES, SAMPLES_PAGE = "manifests/samples", "samples.md"
COPIES = "repository"
"""Below it, the site has the files that pages link to and that are no pages."""
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s#:]+)(?P<anchor>#[^)\s]*)?\)")
CODE = re.compile(r"^( *)(`{3,}).*?^\1\2$|`[^`\n]*`", re.DOTALL | re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/, and the files that pages link to."""
    for path, uri in PAGES.items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / path)))
    files.append(File.generated(config, SAMPLES_PAGE, content=_samples()))
    for uri, text in generated_pages().items():
        files.append(File.generated(config, uri, content=text))
    for page in list(files.documentation_pages()):
        for link in LINK.finditer(page.content_string):
            path = _in_repository(page.src_uri, link["target"])
            if _page_of(path) is None and (ROOT / path).is_file() and f"{COPIES}/{path}" not in files.src_uris:
                files.append(File.generated(config, f"{COPIES}/{path}", abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - mkdocs gives them
    """Have links lead where the file that they name is on the site, and tables begin as Python's Markdown wants it."""
    uri = page.file.src_uri
    here = posixpath.dirname(uri)

    def turned(link: re.Match[str]) -> str:
        path = _in_repository(uri, link["target"])
        if not (ROOT / path).exists():
            return link[0]
        target = _page_of(path)
        if target is None and (ROOT / path).is_dir():
            return link["text"]
        return f"[{link['text']}]({posixpath.relpath(target or f'{COPIES}/{path}', here)}{link['anchor'] or ''})"

    text, end = [], 0
    for code in CODE.finditer(markdown):
        text += [LINK.sub(turned, markdown[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*text, LINK.sub(turned, markdown[end:])]).replace("-->\n|", "-->\n\n|")


def _in_repository(uri: str, target: str) -> str:
    """Return what a page links to, as a path in the repository."""
    origin = next((path for path, page in PAGES.items() if page == uri), f"docs/{uri}")
    if uri == SAMPLES_PAGE:
        origin = f"{SAMPLES}/README.md"
    return posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))


def _page_of(path: str) -> str | None:
    """Return the page of a file or of a directory; None where it has none."""
    if path in {SAMPLES, f"{SAMPLES}/README.md"}:
        return SAMPLES_PAGE
    for candidate in (path, f"{path}/README.md"):
        if candidate in PAGES:
            return PAGES[candidate]
        if candidate.startswith("docs/") and (ROOT / candidate).is_file():
            return candidate.removeprefix("docs/")
    return None


def _samples() -> str:
    """Return a page of all samples, with what their first lines say of them as it is."""
    samples = sorted((ROOT / SAMPLES).glob("*.yaml"))
    parts = [f"## {sample.name}\n\n```yaml\n{sample.read_text()}```\n" for sample in samples]
    return "\n".join([(ROOT / SAMPLES / "README.md").read_text(), *parts])
