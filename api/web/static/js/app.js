// Starts the parts of the page.

import { mountAlerts } from "./alerts.js";
import { mountAsk } from "./ask.js";
import { openAdd } from "./add.js";
import { mountFind } from "./find.js";
import { mountHealth } from "./health.js";
import { mountPlayer } from "./player.js";
import { mountStreams } from "./streams.js";
import { mountSummary } from "./summary.js";
import { mountTabs } from "./tabs.js";
import { mountTimeline } from "./timeline.js";

const part = (id) => document.getElementById(id);

mountPlayer(part("player"));
mountTimeline(part("timeline"), part("tip"));
mountAsk(part("panel-ask"));
mountFind(part("panel-find"));
mountSummary(part("panel-summary"));
mountAlerts(part("panel-alerts"), part("alert-count"));
mountTabs(document.querySelector("[role=tablist]"));
mountHealth(part("health"), part("health-details"));
mountStreams(part("stream-list"));
part("add-stream").addEventListener("click", openAdd);
