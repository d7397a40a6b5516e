"""The script and the style of a report's page."""

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; margin: 2rem auto;
       max-width: 1180px; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p { max-width: 46rem; color: #444; }
section > div { display: inline-block; vertical-align: top; }
table { border-collapse: collapse; margin: .6rem 0; }
td { padding: .2rem .9rem .2rem 0; border-bottom: 1px solid #e4e4e4;
     font-variant-numeric: tabular-nums; }
.numbers td + td { text-align: right; }
.numbers tr:first-child { font-weight: 600; }
section > .viewer { display: block; border: 1px solid #ddd; padding: .6rem; }
.viewer label, .legend span { margin-right: 1.2rem; }
.legend { margin: .4rem 0 0; font-size: 13px; }
"""

# Clouds stand side by side in one scene, so that they turn together.
SCRIPT = """
function unpack(text) {
  const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

function drawClouds(place, cloud, step) {
  const traces = [], notes = [], count = cloud.panels.length;
  cloud.panels.forEach((panel, i) => {
    const points = unpack(panel.points), n = points.length / 3;
    const x = [], y = [], z = [], shift = 2.6 * (i - (count - 1) / 2);
    let far = 0;
    const middle = [0, 1, 2].map(k => {
      let low = Infinity, high = -Infinity;
      for (let j = 0; j < n; j++) {
        low = Math.min(low, points[3 * j + k]);
        high = Math.max(high, points[3 * j + k]);
      }
      far = Math.max(far, (high - low) / 2);
      return (low + high) / 2;
    });
    // Each stands a little askew, all at the same distance from the eye.
    const sine = Math.sin(.6), cosine = Math.cos(.6);
    for (let j = 0; j < n; j++) {
      const a = (points[3 * j] - middle[0]) / far;
      const b = (points[3 * j + 1] - middle[1]) / far;
      x.push(cosine * a - sine * b + shift);
      y.push(sine * a + cosine * b);
      z.push((points[3 * j + 2] - middle[2]) / far);
    }
    const marker = {size: 2.6};
    if (panel.values) {
      marker.color = Array.from(unpack(panel.values[step]));
      marker.cmin = 0;
      // A block that is off has 0 everywhere.
      marker.cmax = Math.max(...marker.color) || 1;
      marker.colorscale = "Viridis";
      marker.showscale = true;
      marker.colorbar = {
        title: {text: panel.title, side: "top"}, thickness: 14, len: .8,
        x: i === 0 && count > 1 ? 0 : 1, tickformat: ".3~g",
        xanchor: i === 0 && count > 1 ? "left" : "right"
      };
    } else {
      marker.color = panel.color;
    }
    traces.push({
      type: "scatter3d", mode: "markers", x: x, y: y, z: z, marker: marker,
      text: panel.names || panel.title, hoverinfo: "text", showlegend: false
    });
    if (!panel.values) notes.push({
      x: shift, y: 0, z: 1.25, text: panel.title, showarrow: false,
      font: {size: 13}
    });
  });
  const axis = {visible: false, showspikes: false};
  const away = {1: 1.7, 2: 1.9, 3: 1.6}[count] || 1.5;
  const layout = {
    height: 480, margin: {l: 10, r: 10, t: 10, b: 10}, uirevision: "same",
    scene: {
      xaxis: axis, yaxis: axis, zaxis: axis, aspectmode: "data",
      domain: {x: [0, 1], y: [0, 1]},
      annotations: notes, dragmode: "orbit",
      camera: {eye: {x: 0, y: -away, z: .3 * away},
               up: {x: 0, y: 0, z: 1}}
    }
  };
  Plotly.react(place, traces, layout,
               {displaylogo: false, responsive: true, plotlyServerURL: ""});
}

function showClouds(name, data) {
  const root = document.getElementById(name);
  const choice = document.createElement("select");
  data.clouds.forEach((cloud, i) => choice.add(new Option(cloud.title, i)));
  const head = document.createElement("label");
  head.append("cloud: ", choice);
  root.append(head);
  const slider = document.createElement("input");
  const shown = document.createElement("span");
  if (data.steps.length > 1) {
    Object.assign(slider, {type: "range", min: 0, value: 0,
                           max: data.steps.length - 1});
    const label = document.createElement("label");
    label.append(slider, " ", shown);
    root.append(label);
  }
  const legend = document.createElement("div");
  legend.className = "legend";
  const place = document.createElement("div");
  place.className = "scene";
  root.append(legend, place);
  const draw = () => {
    const step = data.steps.length > 1 ? Number(slider.value) : 0;
    const cloud = data.clouds[Number(choice.value)];
    shown.textContent = data.steps[step] || "";
    legend.replaceChildren(...(cloud.legend || []).map(([name, color]) => {
      const entry = document.createElement("span");
      const dot = document.createElement("b");
      dot.textContent = "\u25cf ";
      dot.style.color = color;
      entry.append(dot, name);
      return entry;
    }));
    drawClouds(place, cloud, step);
  };
  choice.addEventListener("change", draw);
  slider.addEventListener("input", draw);
  draw();
}
"""
