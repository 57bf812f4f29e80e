"""What each model withstands alone, and with the points of others, as text."""

from hauberk.report.tables.grid import Summary


def table(report: Summary) -> str:
    """Accuracies in per cent, one row a model; then a table of models by models.

    The second table gives, for each source model (row) and target model (column), the share of
    examples that points crafted on the source broke on the target.

    Args:
        report: ``threat``; ``clean``, ``whitebox``, ``combined`` and ``gap`` by model; and
            ``broke[source][target]``; shares in [0, 1], as
            :class:`hauberk.evaluation.transfer.TransferReport` has them.

    Source: Ding et al. 2020, section 3.2 and appendix D.

    Example:
        >>> one = {"model": 0.5}
        >>> report = {"threat": "l2:1", "clean": one, "whitebox": one, "combined": one}
        >>> print(table({**report, "gap": {"model": 0.0}, "broke": {"model": one}}))
        l2:1
           model              clean  white-box  combined     gap
         1 model              50.00      50.00     50.00    0.00
           points of, broke       1
         1 model              50.00
    """
    names = list(report["clean"])
    wide = max(16, *map(len, names))
    lines = [
        report["threat"],
        f"   {'model':{wide}}  {'clean':>6}  {'white-box':>9}  {'combined':>8}  {'gap':>6}",
    ]
    columns = (("clean", 6), ("whitebox", 9), ("combined", 8), ("gap", 6))
    for number, name in enumerate(names, start=1):
        cells = (f"{100 * report[column][name]:{size}.2f}" for column, size in columns)
        lines.append(f"{number:2} {name:{wide}}  {'  '.join(cells)}")
    numbers = "  ".join(f"{number:6}" for number in range(1, len(names) + 1))
    lines.append(f"   {'points of, broke':{wide}}  {numbers}")
    for number, (source, row) in enumerate(report["broke"].items(), start=1):
        shares = "  ".join(f"{100 * share:6.2f}" for share in row.values())
        lines.append(f"{number:2} {source:{wide}}  {shares}")
    return "\n".join(lines)
