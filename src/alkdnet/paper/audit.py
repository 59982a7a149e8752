"""The audit page: where the paper's own numbers are inconsistent, computed where they can be."""

from collections.abc import Sequence

from alkdnet.config.params import Params
from alkdnet.paper.audit_costs import cost_findings
from alkdnet.paper.audit_protocols import protocol_finding
from alkdnet.paper.audit_scores import score_findings
from alkdnet.paper.finding import Finding
from alkdnet.reporting.table import paragraphs, to_markdown
from alkdnet.results.tree import Results

_INTRODUCTION = """\
# Audit of the paper's numbers

What follows does not hang on any training: it is computed from the numbers that the paper prints, by
`alkdnet.reporting.audit`, and from counts of published code and weights where that is said. None of it
contradicts the paper's conclusion that ALKDNet is the best of the compared networks at its size; the
authors' released weights give ALKDNet's cells of Table 4 to their last digit wherever they were measured.
"""

_UNCOMPUTED = """\
## What cannot be computed

- Tables 1 to 3 are printed as images. The differences that the text states are shown in this report beside
the measured ones. That they are against BSRN's row of Table 4 is likely, but not said.
- The ablations replace the convolutions inside the blocks of BSRN only. ALKDNet as released also has the new
  convolution in its fusion, and pads the strided convolution of its attention, which BSRN does not; neither
  is ablated.
- Section 4.4 cites the paper of DRCN for DRRN.
"""


def audit(params: Params, results: Results) -> list[Finding]:
    """Return all findings, in the order of the page."""
    costs = cost_findings(params, results)
    return [costs[0], *score_findings(), protocol_finding(), *costs[1:]]


def audit_page(findings: Sequence[Finding]) -> str:
    """Return the page as Markdown."""
    blocks = [_INTRODUCTION]
    for index, finding in enumerate(findings, 1):
        blocks += [
            f"## {index}. {finding.title}",
            finding.text,
            to_markdown(finding.table),
            f"Numbers: [{finding.name}.csv](tables/audit_{finding.name}.csv)",
        ]
    return paragraphs([*blocks, _UNCOMPUTED])
