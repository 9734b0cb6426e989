"""An audit's report for people."""

from persistence.audit import AuditReport


def audit_text(report: AuditReport) -> str:
    """Write a report as lines: each check with its findings, then one line that sums up."""
    lines = []
    for check, count in report.counts.items():
        if not count:
            lines.append(f"ok    {check}")
            continue
        told = [finding for finding in report.findings if finding.check == check]
        lines.append(f"WRONG {check}: {count}")
        lines += [f"        {finding.sentence}" for finding in told]
        if count > len(told):
            lines.append(f"        … and {count - len(told)} more")
    wrong = sum(report.counts.values())
    if wrong:
        lines.append(f"{wrong} findings.")
    else:
        lines.append(f"Everything adds up: {len(report.counts)} checks found nothing.")
    return "\n".join(lines)
