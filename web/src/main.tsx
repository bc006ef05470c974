import { render } from "preact";
import { App } from "./components/App";
import { start } from "./state";
import "./styles.css";

render(<App />, document.body);
void start();
