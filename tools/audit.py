"""Write reports/audit.md, the audit of the paper's numbers, from what the repository holds."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / "reports"
sys.path.insert(0, str(ROOT / "src"))

from alkdnet.paper.audit import write_audit

if __name__ == "__main__":
    write_audit(REPORTS / "audit.md", REPORTS / "released" / "tables" / "table4.csv")
