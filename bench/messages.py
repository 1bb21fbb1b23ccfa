"""The messages sent: distinct ADT^A03 of about 900 bytes, from the product's one seeded generator."""

from collections.abc import Iterator

from bench.setting import SEED


def messages(series: int, count: int) -> Iterator[bytes]:
    """Messages of one series; different series share no patient and no control id."""
    # TEMPORARY until adapters.his.simulator.bench_messages stands
    for number in range(count):
        key = f"{SEED % 1000}{series:02}{number:07}"
        yield "\r".join(
            [
                f"MSH|^~\\&|BENCH|HIS|HCRM|HCRM|20260801101500||ADT^A03^ADT_A03|B{key}|P|2.5|||||CHN|UNICODE UTF-8",
                "EVN|A03|20260801101500|||D0101^王建国",
                f"PID|1||M{key}^^^BENCH^MR~33010619570312{number % 10000:04}^^^CHN^NI||张^晓明||19570312|M|||"
                "文三路 138 号 3 幢 502 室^^杭州市^浙江省^310012^CHN^H||13800001234|||M",
                "NK1|1|张^丽|CHD^子女|文三路 138 号^^杭州市^浙江省^310012|13900005678",
                f"PV1|1|I|CARD^1203^02^MAIN||||D0101^王^建国|D0102^李^明||CARD||||7|||D0101^王^建国|IN|V{key}|||||||||||"
                "||||||1||||||||20260725083000|20260801100000",
                "DG1|1||I63.900^脑梗死^ICD-10-CN||20260725|A",
                "DG1|2||I10.x00^高血压病^ICD-10-CN||20260725|F",
                "DG1|3||E11.900^2型糖尿病^ICD-10-CN||20260725|F",
                "PR1|1||36.0700^冠状动脉支架植入术^ICD-9-CM-3||20260727",
                "AL1|1|DA|^青霉素|MO|皮疹",
            ]
        ).encode()
