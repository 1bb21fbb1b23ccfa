"""A hospital that does not exist and everything its HIS tells: one seeded generator for demo, tests and bench.

`load_hospital()` departments and staff · `Simulator(seed, start, days, patients).messages()` the messages of some
days, in order of arrival · `live_messages(simulator, now=…)` goes on where those days end, without an end ·
`bench_messages(seed, count, already=…)` discharges of new patients for load tests, `bench_stays` whole stays,
`bench_results` laboratory reports. The same arguments give the same bytes. The data lies in `config/demo/`. Standard
library and PyYAML only; nothing here is patient data.
"""

from adapters.his.simulator.hospital import Department, Hospital, Physician, Ward, load_hospital
from adapters.his.simulator.live import live_messages
from adapters.his.simulator.load import bench_messages, bench_results, bench_stays
from adapters.his.simulator.messages import Sender, SimulatedMessage
from adapters.his.simulator.stays import Shares
from adapters.his.simulator.traffic import Simulator

__all__ = [
    "Department",
    "Hospital",
    "Physician",
    "Sender",
    "Shares",
    "SimulatedMessage",
    "Simulator",
    "Ward",
    "bench_messages",
    "bench_results",
    "bench_stays",
    "live_messages",
    "load_hospital",
]
