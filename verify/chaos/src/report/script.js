// Moves the map in time, and tells what is under the pointer. The page says all it has to say without it.
(function () {
  "use strict";
  var data = JSON.parse(document.getElementById("data").textContent);
  var axis = document.getElementById("axis");
  var cursor = document.getElementById("cursor");
  var slider = document.getElementById("when");
  var tip = document.getElementById("tip");
  var facts = document.getElementById("facts");
  var left = Number(axis.dataset.left);
  var right = Number(axis.dataset.right);
  var end = Number(axis.dataset.end);
  var drawn = document.querySelectorAll("[id^='l'].link");

  function lastBefore(samples, ms) {
    var found = null;
    for (var i = 0; i < samples.length && samples[i][0] <= ms; i++) found = samples[i];
    return found;
  }

  function underWay(ms) {
    return data.faults.filter(function (fault) {
      return fault[0] <= ms && ms <= fault[1];
    });
  }

  function showMap(ms) {
    document.getElementById("now").textContent = (ms / 1000).toFixed(1) + " s";
    data.nodes.forEach(function (samples, node) {
      var sample = lastBefore(samples, ms) || [0, "mute", "no answer", null];
      var circle = document.getElementById("n" + node);
      var name = document.getElementById("t" + node);
      if (!circle) return;
      circle.setAttribute("class", "node " + sample[1]);
      name.setAttribute("class", "nodename on-" + sample[1]);
      var term = sample[3] === null ? "" : ", term " + sample[3];
      document.getElementById("w" + node).textContent = sample[2] + term;
    });
    drawn.forEach(function (line) {
      line.setAttribute("class", "link whole");
    });
    data.links.forEach(function (mark) {
      var line = mark[0] <= ms && document.getElementById("l" + mark[1] + "-" + mark[2]);
      if (line) line.setAttribute("class", "link " + mark[3]);
    });
    var second = data.seconds[Math.floor(ms / 1000)];
    var lines = underWay(ms).map(function (fault) {
      return fault[2] + ": " + fault[3];
    });
    if (lines.length === 0) lines.push("no fault is under way");
    if (second) {
      var slow = second[3] === null ? "" : ", 99 of 100 within " + second[3].toFixed(1) + " ms";
      lines.push(second[0] + " requests done in this second" + slow);
      if (second[1] > 0) lines.push(second[1] + " refused, or of unknown outcome");
    }
    facts.replaceChildren.apply(facts, lines.map(function (line) {
      var item = document.createElement("li");
      item.textContent = line;
      return item;
    }));
  }

  function moveCursor(ms) {
    var x = left + (right - left) * Math.min(1, ms / end);
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    cursor.setAttribute("visibility", "visible");
  }

  axis.addEventListener("pointermove", function (event) {
    var box = axis.getBoundingClientRect();
    var x = (event.clientX - box.left) * (axis.viewBox.baseVal.width / box.width);
    if (x < left || x > right) return;
    var ms = Math.round((end * (x - left)) / (right - left));
    slider.value = ms;
    moveCursor(ms);
    showMap(ms);
    var title = event.target.querySelector && event.target.querySelector("title");
    var words = title ? title.textContent : underWay(ms).map(function (fault) {
      return fault[2] + ": " + fault[3];
    }).join("; ");
    tip.textContent = (ms / 1000).toFixed(1) + " s" + (words ? " · " + words : "");
    tip.hidden = false;
    var beside = event.clientX + 14 + 340 > window.innerWidth ? event.clientX - 354 : event.clientX + 14;
    tip.style.left = Math.max(4, beside) + "px";
    tip.style.top = event.clientY + 14 + "px";
  });
  axis.addEventListener("pointerleave", function () {
    tip.hidden = true;
  });
  slider.addEventListener("input", function () {
    moveCursor(Number(slider.value));
    showMap(Number(slider.value));
  });
  showMap(Number(slider.value));
})();
