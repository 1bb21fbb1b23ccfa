"""What the record number of a row is: type and authority as an HL7 message of the same source would give them. Pure.

Matching is by authority, type and value. A row that gave another type than PID-3 does would make a second archive, so
what the source's file leaves open is refused at start.
"""

from collections.abc import Mapping, Sequence

from hcrm.core.channels import Rows


def check_row_numbers(
    forms: Mapping[str, Rows], *, named: Sequence[str], listed: Sequence[str], authority: str, is_told_by_hl7: bool
) -> None:  # fmt: skip
    """ValueError where a form's record number could be one of several.

    `named`: types `identifier_types` maps to `record`; `listed`: the source's `record_number_types`.
    """
    for form, rows in forms.items():
        kind = rows.patient_no_type
        if kind and kind not in (*named, *listed):
            raise ValueError(
                f"{form} 的 patient_no_type {kind} 没有登记为病历号：写进 identifier_types（record）"
                "或 record_number_types"
            )
        if not kind and len(named) > 1:
            raise ValueError(
                f"{form} 需要 patient_no_type：identifier_types 中有几种病历号（{'、'.join(named)}），"
                "不知行中是哪一种"
            )
        if not kind and not (named or listed):
            raise ValueError(f"{form} 需要 patient_no_type：来源没有登记病历号的类型")
        is_stated = authority or (rows.patient_no_authority and rows.visit_no_authority)
        if is_told_by_hl7 and not is_stated:
            raise ValueError(
                f"{form} 需要 default_authority：不写则行与 HL7 消息中的同一号码可能分成两份档案"
            )
