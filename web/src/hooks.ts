// Small hooks that several components share.
import { useEffect, useState } from "preact/hooks";
import { loadBlob } from "./store";

/** An address for kept bytes, as long as the component is there; "" until it is known. */
export function useBlobUrl(key: string): string {
  const [url, setUrl] = useState("");
  useEffect(() => {
    let made = "";
    let isGone = false;
    void loadBlob(key).then((blob) => {
      if (!blob || isGone) return;
      made = URL.createObjectURL(blob);
      setUrl(made);
    }, () => undefined);
    return () => {
      isGone = true;
      if (made) URL.revokeObjectURL(made);
    };
  }, [key]);
  return url;
}
