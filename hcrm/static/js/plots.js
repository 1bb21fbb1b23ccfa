/* Plots of a page, each drawn on a canvas from the table beside it: what the script shows, the table says. */
(() => {
  "use strict";
  const COLOURS = ["#0f6b68", "#855100", "#4a5fa8", "#7a3e76", "#55636e", "#1d6b3c"];
  const QUIET = { color: "#55636e", fontFamily: "Microsoft YaHei, PingFang SC, Noto Sans CJK SC, sans-serif" };

  function read(table) {
    const rows = [...table.tBodies[0].rows];
    return {
      names: [...table.tHead.rows[0].cells].slice(1).map((cell) => cell.textContent),
      times: rows.map((row) => row.cells[0].textContent),
      columns: [...table.tHead.rows[0].cells].slice(1)
        .map((_, column) => rows.map((row) => Number(row.cells[column + 1].textContent))),
    };
  }

  function draw(box) {
    const panel = box.closest(".panel");
    const { names, times, columns } = read(panel.querySelector("table"));
    const plot = echarts.init(box, null, { renderer: "canvas" });
    plot.setOption({
      animation: false,
      color: box.dataset.plot === "rate" ? COLOURS : [box.dataset.plot === "parked" ? "#b3261e" : COLOURS[0]],
      textStyle: QUIET,
      grid: { left: 48, right: 16, top: names.length > 1 ? 32 : 16, bottom: 28 },
      legend: { show: names.length > 1, top: 4, left: 8, itemWidth: 14, itemHeight: 8, textStyle: QUIET },
      tooltip: { trigger: "axis", renderMode: "richText", confine: true },  // no markup: the policy allows no styles in it
      xAxis: { type: "category", data: times, axisLabel: QUIET, axisTick: { show: false } },
      yAxis: { type: "value", min: 0, minInterval: box.dataset.plot === "parked" ? 1 : 0, axisLabel: QUIET },
      series: names.map((name, number) => ({
        name, data: columns[number], type: box.dataset.plot === "parked" ? "bar" : "line", showSymbol: false,
      })),
    });
    window.addEventListener("resize", () => plot.resize());
  }

  document.querySelectorAll(".plot").forEach(draw);
})();
