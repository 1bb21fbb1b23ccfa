"""The HIS's own list of the day, opened for the comparison in `hcrm.inbox.census`."""

from collections.abc import Mapping
from pathlib import Path

from adapters.his.lists import FileRefused, read_list
from hcrm.core.channels import ListFile
from hcrm.core.errors import HcrmError


def read_census_file(path: Path, form: ListFile) -> list[Mapping[str, object]]:
    """All rows, or a refusal: half a list is none."""
    try:
        return list(read_list(path, form))
    except FileRefused as error:
        raise HcrmError(error.reason, "名单不可读") from error
