// Charts in the colours of the page. `ast`: expressions are interpreted, since the policy forbids to compile them.
const dark = matchMedia("(prefers-color-scheme: dark)");
function draw() {
  const ink = dark.matches ? "#e6e6e6" : "#222222", faint = dark.matches ? "#444444" : "#dddddd";
  const text = { labelColor: ink, titleColor: ink };
  const config = {
    background: "transparent", title: { color: ink }, legend: { ...text, orient: "bottom", columns: 4, labelLimit: 220 },
    axis: { ...text, gridColor: faint, domainColor: faint, tickColor: faint, labelLimit: 200 },
  };
  for (const { name, spec } of JSON.parse(document.getElementById("specs").textContent)) {
    vegaEmbed(document.getElementById("chart-" + name), spec, { ast: true, actions: false, renderer: "svg", config })
      .catch((error) => console.error(name, error));
  }
}
dark.addEventListener("change", draw);
draw();
