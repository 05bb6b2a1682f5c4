"""The LaTeX of a report: text means only itself, and it compiles where there is a LaTeX."""

import shutil
import subprocess

import pytest

from reports import build_report
from reports.document.bibliography import bibliography, entries
from reports.document.blocks import Cell, Column, Document, Facts, Finding, Notice, Paragraph, Points, Section, Table
from reports.document.latex import escape, latex, tabular
from reports.request import Asked
from search_spaces.published import all_published

EVERYTHING = "\\ { } $ & # % _ ^ ~ < > | \" ' ` ± − × ◆ – [x] * \x0b 汉 é \\input{/etc/passwd} 50 % ?` --"
LATEX = shutil.which("pdflatex") or shutil.which("tectonic")


def everything(length=2):
    """Every kind of block, with every awkward letter in every place."""
    columns = [Column(EVERYTHING, numeric=False), Column("Test", "%")]
    rows = [[Cell("[1] " + EVERYTHING), Cell("97.31 ± 0.24", 0.97, mark="◆")], [Cell("*"), Cell("–", mark="figure")]]
    rows += [[Cell("more"), Cell("–")]] * (length - 2)
    table = Table("arms", EVERYTHING, columns, rows, [EVERYTHING])
    blocks = [
        Paragraph(EVERYTHING), Points(["[a] " + EVERYTHING]), Notice(EVERYTHING, [EVERYTHING]), table,
        Facts([(EVERYTHING, EVERYTHING)]), Finding("f", EVERYTHING, "supported", EVERYTHING, table),
        Points([]),
    ]  # fmt: skip
    return Document(EVERYTHING, EVERYTHING, [Section(EVERYTHING, "s", blocks, [Section(EVERYTHING, "t", blocks)])])


def test_letters_that_mean_something_to_latex_are_escaped():
    assert escape("50 % of K_2 & {x} \\input") == r"50 \% of K\_2 \& \{x\} \textbackslash{}input"
    assert escape("97.3 ± 0.2, −1 × 2") == r"97.3 $\pm$ 0.2, $-$1 $\times$ 2"
    assert escape("[x] *") == "{[}x{]} {*}"
    assert escape("a\nb 汉\x85") == "a b ?"


@pytest.mark.parametrize(("rows", "environment"), [(2, "tabular"), (31, "longtable")])
def test_a_table_is_set_by_booktabs_and_a_long_one_has_its_head_on_every_page(rows, environment):
    text = latex(everything(rows))
    assert rf"\begin{{{environment}}}{{@{{}}lr@{{}}}}" in text
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert rule in text
    assert (r"\endhead" in text) == (environment == "longtable")
    assert r"97.31 $\pm$ 0.24 $\diamond$ \\" in text


def test_every_table_is_a_file_that_a_paper_takes_in_and_figures_are_pdf_and_png(tracked_digits, tmp_path):
    asked = Asked(for_papers=True)
    folders = [build_report(["digits_sweep"], tracked_digits, tmp_path / name, asked).parent for name in ("a", "b")]
    tables, figures = (folders[0] / name for name in ("tables", "figures"))
    text = (tables / "arms-digits-sweep.tex").read_text()
    assert text.startswith(r"\begin{tabular}{@{}l") and text.rstrip().endswith(r"\end{tabular}")
    assert r"K=8 GS &" in text
    for path in figures.glob("*.svg"):
        assert path.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
        assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
        for kind in (".pdf", ".png"):
            same = (folders[1] / "figures" / path.with_suffix(kind).name).read_bytes()
            assert path.with_suffix(kind).read_bytes() == same, "the same runs give the same bytes"
    plain = build_report(["digits_sweep"], tracked_digits, tmp_path / "plain").parent
    assert not [path for path in plain.rglob("*") if path.suffix in (".tex", ".pdf", ".png", ".bib")]


def test_every_source_of_a_published_value_has_its_entry():
    for row in all_published():
        assert bibliography([row.source]).count("@") == 1, row.source
    assert "source" not in "".join(line.split("=")[0] for line in "".join(entries().values()).splitlines())


def test_a_cell_of_braces_is_text_in_a_head_too():
    table = Table("t", "T", [Column("{0} \\ %"), Column("{0} \\ %")], [[Cell("{}"), Cell("1")]])
    assert tabular(table).splitlines()[2] == r"\{0\} \textbackslash{} \% & \{0\} \textbackslash{} \% \\"


def test_the_same_document_gives_the_same_text():
    assert latex(everything()) == latex(everything())


@pytest.fixture
def compiled(tmp_path):
    """Compiles as the file's first line says, and gives what LaTeX logged in its last run."""

    def compile_(text):
        if LATEX is None:
            pytest.skip("no pdflatex and no tectonic on this machine")
        (tmp_path / "report.tex").write_text(text)
        flags = ["-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape"] if "pdflatex" in LATEX else []
        for _ in range(2):
            done = subprocess.run([LATEX, *flags, "report.tex"], cwd=tmp_path, capture_output=True)
            assert done.returncode == 0, done.stdout.decode(errors="replace")[-3000:]
        assert (tmp_path / "report.pdf").stat().st_size > 1000
        return done.stdout.decode(errors="replace")

    return compile_


@pytest.mark.parametrize("rows", [2, 31])
def test_it_compiles_with_every_awkward_letter_in_every_place(compiled, rows):
    compiled(latex(everything(rows)))


def test_a_table_wider_than_the_page_is_made_to_fit(compiled):
    wide = Table("wide", "Wide", [Column("A head of some length")] * 16, [[Cell("97.31 ± 0.24")] * 16])
    said = compiled(latex(Document("Wide", "", [Section("Wide", "wide", [wide])])))
    assert "Overfull" not in said


def test_the_report_of_a_sweep_compiles_to_its_last_page(compiled, tracked_digits, tmp_path):
    asked = Asked(for_papers=True)
    text = build_report(["digits_sweep"], tracked_digits, tmp_path / "out", asked).with_name("report.tex").read_text()
    said = compiled(text)
    assert "Overfull" not in said
    assert "Rerun LaTeX" not in said
