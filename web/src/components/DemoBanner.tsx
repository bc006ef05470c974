// What the demo model can do, one click away: its sample pictures and clips, each with a question.
import { send } from "../asking";
import { language, t } from "../i18n";
import { attach } from "../media";
import boxes from "../../../demo/boxes.png";
import clip1 from "../../../demo/clip-1.mp4";
import clip2 from "../../../demo/clip-2.mp4";
import receipt from "../../../demo/receipt.png";
import shapes from "../../../demo/shapes.png";
import text from "../../../demo/text.png";
import after from "../../../demo/after.png";
import before from "../../../demo/before.png";

const SAMPLES: { urls: string[]; en: string; zh: string }[] = [
  { urls: [receipt], en: "Return the fields as JSON.", zh: "把表单读成JSON。" },
  { urls: [text], en: "What does it say?", zh: "读出文字。" },
  { urls: [shapes], en: "How many circles are there?", zh: "你看到了什么？" },
  { urls: [boxes], en: "Find the orange square. Give its box.", zh: "找到橙色星形，给出坐标。" },
  { urls: [before, after], en: "What changed from the first picture to the second?", zh: "第二张图和第一张比有什么变化？" },
  { urls: [clip1], en: "What happens, and when?", zh: "发生了什么？什么时候？" },
  { urls: [clip2], en: "When does the orange cross appear?", zh: "第几秒发生了什么？" },
];

async function tryOne(urls: string[], question: string) {
  const attachments = await Promise.all(urls.map(async (url) => {
    const blob = await (await fetch(url)).blob();
    return attach(new File([blob], url.split("/").pop() ?? "sample", { type: blob.type }));
  }));
  send(question, attachments.filter((one) => one !== null));
}

export function DemoBanner() {
  return (
    <section class="demo" aria-label={t("app.model")}>
      <p>{t("demo.banner")}</p>
      <ul>
        {SAMPLES.map((one) => {
          const question = language.value === "zh" ? one.zh : one.en;
          return (
            <li key={one.en}>
              <button onClick={() => void tryOne(one.urls, question)}>
                {one.urls.map((url) => url.includes(".mp4")
                  ? <video key={url} src={url} muted preload="metadata" aria-hidden="true" />
                  : <img key={url} src={url} alt="" loading="lazy" />)}
                <span>{question}</span>
              </button>
            </li>
          );
        })}
      </ul>
    </section>
  );
}
