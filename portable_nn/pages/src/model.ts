// The page of one model: `portable-nn export MODEL --html page.html`.

import { data, h, root } from "./shared/dom";

root().append(h("h1", {}, data<{ title: string }>().title));
