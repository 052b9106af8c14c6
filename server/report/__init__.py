"""The report of a study: one page for people, one table for programs, from what its journal says.

    evidence    what lies in the study's folder, read once
    scores      how well the models did          participation   who counted, and why not
    choice      which model is final            matrix          each model at each site
    fairness    site beside site                 chance          what is more than chance
    habits      a site beside its earlier self   unusual         the same in words
    work        seconds and bytes                integrity       digests, heads, owners
    facts       all of these, joined             table           the same, in long format
    charts, forest, multiples   where things are drawn
    page        the HTML                         letters         takes the sites' names out
    publish     writes both files
    comparison  two studies side by side

The report is a function of the folder alone: the same journal gives the same bytes. It trains and
scores nothing, and a number that the journal does not hold is said to be missing, with the reason.
"""

from server.report.publish import compare, compare_by_letter, report_data, write_report, write_report_by_letter

__all__ = ["compare", "compare_by_letter", "report_data", "write_report", "write_report_by_letter"]
