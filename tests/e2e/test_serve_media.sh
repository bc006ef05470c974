#!/usr/bin/env bash
# Pictures and clips at `qvl serve`: every spelling means the same, wishes are honoured in their order, uploads, files below
# a folder, URLs; and what is refused: limits at their edges, broken and hostile files, each with its status and sentence.
. "$(dirname "$0")/common.sh"
. tests/e2e/serve.sh
if [ ! -e demo/model/model.safetensors ]; then
    echo "SKIP: demo/model/model.safetensors is not there: the server is not started"
    finish
fi
clips=tests/data/clips

# ---- requests --------------------------------------------------------------------------------------
b64() { base64 -w 0 "$1"; }
quote() { printf '%s' "$1" | sed "s/'/\"/g"; }
# The parts of a message (with ' for ") and what else the body has, into $work/request. @FILE@ becomes its base64.
request() {
    local text="{\"messages\": [{\"role\": \"user\", \"content\": [$(quote "$1"), {\"type\": \"text\", \"text\": \"What do you see?\"}]}],
        \"max_tokens\": 6, \"temperature\": 0, \"seed\": 1${2:+, $(quote "$2")}}"
    while [[ $text =~ ^([^@]*)@([^@]+)@(.*)$ ]]; do
        printf '%s' "${BASH_REMATCH[1]}"
        b64 "${BASH_REMATCH[2]}"
        text=${BASH_REMATCH[3]}
    done >"$work/request.head"
    [[ $text =~ @ ]] && bad "a request with one @"
    { cat "$work/request.head"; printf '%s' "$text"; } >"$work/request"
}
# ask NAME CODE PARTS [MORE]
ask() {
    request "$3" "${4:-}"
    status "$1" "$2" "${as_json[@]}" --data-binary "@$work/request" "$base/v1/chat/completions"
}
# seen: what was said, and of the media all but their names
seen() { tr -d '\n' <"$work/body" | grep -oE '"content":"([^"\\]|\\.)*"|"(kind|original|used|tokens|frames|times|fps|duration_s)":("[a-z]*"|[0-9.]+|\[[^]]*\])'; }
# alike NAME PARTS [MORE]: means the same as what is in $work/want
alike() {
    ask "$1" 200 "$2" "${3:-}"
    seen | grep -v '"tokens":' >"$work/got"
    same "$1: the same answer" "$work/want" "$work/got"
}
want() { # name, parts: what the others are compared with
    ask "$1" 200 "$2"
    seen | grep -v '"tokens":' >"$work/want"
}
# refused NAME CODE PATTERN PARTS [MORE]: the status, and a message that matches
refused() {
    ask "$1" "$2" "$4" "${5:-}"
    json "$1: says so" "\"message\":\"[^\"]*$(printf '%s' "$3" | tr -d ' ')"
}
alive() { status "$1" 200 "$base/health"; }

mkdir -p "$work/media/sub"
cp demo/shapes.png "$work/media/shapes.png"
cp demo/clip-1.mp4 "$work/media/sub/clip.mp4"
echo secret >"$work/secret.png"
ln -s ../secret.png "$work/media/out.png"
ln -s shapes.png "$work/media/link.png"
mkfifo "$work/media/fifo"
start --media-path "$work/media" --log-file "$work/log"
[ -n "$port" ] && ok "it starts" || { bad "it starts" "$(cat "$work/said")"; finish; }
p=data:image/png\;base64,@demo/shapes.png@
v=data:video/mp4\;base64,@demo/clip-1.mp4@

# ---- spellings of a picture ------------------------------------------------------------------------
want "a picture" "{'type':'image_url','image_url':{'url':'$p'}}"
json "its size, and what of it was used" '"media":\[\{"kind":"image","name":"messages\[0\]\.content\[0\]\.image_url\.url","original":\[640,512\],"used":\[224,160\],"tokens":35,'
alike "image_url as a string" "{'type':'image_url','image_url':'$p'}"
alike "image" "{'type':'image','image':'$p'}"
alike "input_image" "{'type':'input_image','image_url':'$p','detail':'auto'}"
alike "input_image as an object" "{'type':'input_image','input_image':{'image_url':'$p'}}"
alike "base64" "{'type':'image','base64':'@demo/shapes.png@'}"
alike "source" "{'type':'image','source':{'type':'base64','media_type':'image/png','data':'@demo/shapes.png@'}}"
alike "a file" "{'type':'file','file':{'file_data':'$p','filename':'x.png'}}"
alike "a wrong type in the data: URI" "{'type':'image_url','image_url':'data:text/html;base64,@demo/shapes.png@'}"
alike "detail original" "{'type':'image_url','image_url':{'url':'$p','detail':'original'}}"
alike "a uuid" "{'type':'image_url','image_url':{'url':'$p'},'uuid':'sku-1'}"
json "is its name" '"name":"sku-1"'
alike "a file: URI" "{'type':'image_url','image_url':'file://$work/media/shapes.png'}"
alike "seen from the folder" "{'type':'image_url','image_url':'file:///shapes.png'}"
alike "as llama.cpp has it" "{'type':'image_url','image_url':'file://shapes.png'}"
alike "a path" "{'type':'image','image':'shapes.png'}"

# ---- spellings of a clip ---------------------------------------------------------------------------
want "a clip" "{'type':'video_url','video_url':{'url':'$v'}}"
json "its frames and their times" '"kind":"video",.*"frames":[0-9]+,"times":\[0\.[0-9]'
alike "video_url as a string" "{'type':'video_url','video_url':'$v'}"
alike "video" "{'type':'video','video':'$v'}"
alike "input_video" "{'type':'input_video','input_video':{'data':'@demo/clip-1.mp4@','format':'mp4'}}"
alike "input_video with a URL" "{'type':'input_video','input_video':{'url':'$v'}}"
alike "a file" "{'type':'input_file','file_data':'$v'}"
alike "a file: URI" "{'type':'video','video':'file:///sub/clip.mp4'}"
status "an upload" 200 -F 'video=@demo/clip-1.mp4' -F 'prompt=What do you see?' -F max_tokens=6 -F temperature=0 -F seed=1 \
    "$base/v1/chat/completions"
seen | grep -v '"tokens":' >"$work/got"
same "an upload: the same answer" "$work/want" "$work/got"
status "an upload by its name" 200 -F 'a=@demo/clip-1.mp4' -F max_tokens=6 -F temperature=0 -F seed=1 \
    -F 'messages=[{"role":"user","content":[{"video":"upload:a"},{"text":"What do you see?"}]}]' "$base/v1/chat/completions"
seen | grep -v '"tokens":' >"$work/got"
same "an upload by its name: the same answer" "$work/want" "$work/got"
want "pictures as a clip" "{'type':'video','video':['data:image/png;base64,@demo/before.png@','data:image/png;base64,@demo/after.png@']}"
json "all of them are seen" '"frames":2,"times":\[0\.2'
alike "frames in one data: URI" "{'type':'video_url','video_url':{'url':'data:video/jpeg;base64,@demo/before.png@,@demo/after.png@'}}"
alike "frames 0.5 s apart" "{'type':'video','video':['data:;base64,@demo/before.png@','data:;base64,@demo/after.png@'],'fps':2}"
alike "at times" "{'type':'video','video':['data:;base64,@demo/before.png@','data:;base64,@demo/after.png@'],'times':[0,0.5]}"
ask "4 s apart" 200 "{'type':'video','video':['data:;base64,@demo/before.png@','data:;base64,@demo/after.png@'],'fps':0.25}"
json "stand at their times" '"frames":2,"times":\[2(\.0)?\]'

# ---- wishes: of a part, of a request, of the server -------------------------------------------------
long="'type':'video_url','video_url':{'url':'data:video/mp4;base64,@$clips/h264-long-gop.mp4@'}" # 200 frames, 25 a second
wish() { # NAME FRAMES PART [MORE]: so many frames are seen
    ask "$1" 200 "{$long${3:+,$3}}" "${4:-}"
    json "$1: $2 frames" "\"frames\":$2,"
}
wish "fps" 8 "'fps':1"
wish "fps and max_frames" 6 "'fps':5,'max_frames':6"
wish "num_frames" 10 "'num_frames':10"
wish "nframes" 10 "'nframes':10"
wish "start and end" 4 "'fps':2,'start':4,'end':6"
wish "mm_processor_kwargs" 8 "" "'mm_processor_kwargs':{'fps':1}"
wish "with max_frames" 6 "" "'mm_processor_kwargs':{'fps':5,'max_frames':6,'do_sample_frames':true}"
wish "media_io_kwargs" 12 "" "'media_io_kwargs':{'video':{'num_frames':12}}"
wish "with both" 6 "" "'media_io_kwargs':{'video':{'num_frames':6,'fps':5}}"
wish "not sampled again" 12 "" "'media_io_kwargs':{'video':{'num_frames':12}},'mm_processor_kwargs':{'do_sample_frames':false}"
wish "the part comes first" 10 "'num_frames':10" "'mm_processor_kwargs':{'fps':1}"
ask "max_pixels of a part" 200 "{'type':'image','image':'$p','max_pixels':16384}"
json "is kept" '"used":\[[0-9]+,[0-9]+\],"tokens":(1[0-6]|[1-9]),'
ask "of a request" 200 "{'type':'image','image':'$p'}" "'mm_processor_kwargs':{'max_pixels':16384}"
json "is kept, too" '"tokens":(1[0-6]|[1-9]),'
ask "size in edges" 200 "{'type':'image','image':'$p'}" "'mm_processor_kwargs':{'size':{'shortest_edge':1024,'longest_edge':16384}}"
json "is pixels" '"tokens":(1[0-6]|[1-9]),'
ask "detail low beside a larger wish" 200 "{'type':'image_url','image_url':{'url':'$p','detail':'low'}}" "'mm_processor_kwargs':{'max_pixels':1000000}"
json "is at most 512 x 512" '"tokens":([1-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-6]),'
ask "a member nobody knows" 200 "{'type':'image','image':'$p'}" "'mm_processor_kwargs':{'colour':1}"
has "is named" '^x-ignored-params: mm_processor_kwargs\.colour' "$work/head"
refused "fps and num_frames" 400 'messages\[0\]\.content\[0\]: \\"num_frames\\" is not possible together' "{$long,'fps':1,'num_frames':2}"
refused "a wish of a wrong type" 400 'mm_processor_kwargs: \\"fps\\" must be a number' "{$long}" "'mm_processor_kwargs':{'fps':'1'}"
json "with the field" '"param":"mm_processor_kwargs"'
refused "resized_height" 400 '\\"resized_height\\" and \\"resized_width\\" are not possible' "{$long,'resized_height':64,'resized_width':64}"
refused "an unknown detail" 400 '\\"detail\\" must be' "{'type':'image_url','image_url':{'url':'$p','detail':'fine'}}"

# ---- what is no picture ----------------------------------------------------------------------------
refused "base64 that is none" 422 'messages\[0\]\.content\[0\]\.image_url: what should be base64 is not' "{'image_url':'data:image/png;base64,Zm9v!'}"
refused "base64 for URLs" 422 'what should be base64' "{'image_url':'data:image/png;base64,Zm-_'}"
refused "base64 that was cut" 422 'what should be base64' "{'image_url':'data:image/png;base64,Zm9'}"
refused "base64 twice" 422 'what should be base64' "{'image_url':'data:image/png;base64,;base64,Zm9v'}"
refused "no base64 at all" 422 'a data: URI must have' "{'image_url':'data:image/svg+xml,%3Csvg/%3E'}"
refused "an empty one" 422 'there is no data' "{'image_url':'data:image/png;base64,'}"
refused "an empty list" 400 'the list of pictures is empty' "{'type':'video','video':[]}"
refused "a picture of the server's past" 400 '\\"uuid\\" is a name' "{'type':'image_url','image_url':null,'uuid':'sku-1'}"
refused "a file of the server's past" 400 'no files are kept here' "{'type':'file','file':{'file_id':'file-1'}}"
refused "a document" 400 'of files only pictures and clips are read' "{'type':'file','file':{'file_data':'data:application/pdf;base64,Zm9v'}}"
refused "sound" 400 'the type input_audio is unknown' "{'type':'input_audio','input_audio':{'data':'Zm9v','format':'wav'}}"
refused "text" 422 'content\[0\]\.image_url: ' "{'image_url':'data:image/png;base64,@tests/e2e/common.sh@'}"
refused "a clip as a picture" 422 'content\[0\]\.image_url: ' "{'image_url':'$v'}"
refused "a picture as a clip" 422 'content\[0\]\.video: ' "{'video':'$p'}"
printf '<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>' >"$work/x.svg"
refused "SVG" 422 'content\[0\]\.image: ' "{'image':'data:image/svg+xml;base64,@$work/x.svg@'}"
printf '#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n' >"$work/x.m3u8"
refused "a playlist" 422 'content\[0\]\.video: ' "{'video':'data:video/mp4;base64,@$work/x.m3u8@'}"
printf "ffconcat version 1.0\nfile '/etc/passwd'\n" >"$work/x.ffconcat"
refused "a list of files" 422 'content\[0\]\.video: ' "{'video':'data:video/mp4;base64,@$work/x.ffconcat@'}"

# ---- bombs -----------------------------------------------------------------------------------------
be32() { printf "\\x$(printf %02x $(($1 >> 24 & 255)))\\x$(printf %02x $(($1 >> 16 & 255)))\\x$(printf %02x $(($1 >> 8 & 255)))\\x$(printf %02x $(($1 & 255)))"; }
png_header() { # side
    { printf IHDR; be32 "$1"; be32 "$1"; printf '\x08\x02\0\0\0'; } >"$work/chunk"
    printf '\x89PNG\r\n\x1a\n\0\0\0\x0d'
    cat "$work/chunk"
    gzip -c <"$work/chunk" | tail -c 8 | head -c 4 | od -An -tx1 | awk '{ printf "%s%s%s%s", $4, $3, $2, $1 }' | sed 's/../\\x&/g' |
        { read -r crc; printf "$crc"; }
    printf '\0\0\0\x10IDAT\x78\x9c\x63\0\0\0\x02\0\x01'
}
png_header 40000 >"$work/side.png"
png_header 16000 >"$work/area.png"
printf 'GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\xff\xff\xff\xff\0\x02\x02\x44\x01\0;' >"$work/bomb.gif"
printf '\xff\xd8\xff\xdb\0\x43\0' >"$work/bomb.jpg"
head -c 64 /dev/zero | tr '\0' '\1' >>"$work/bomb.jpg"
printf '\xff\xc0\0\x0b\x08\xff\xdc\xff\xdc\x01\x01\x11\0\xff\xda\0\x08\x01\x01\0\0\x3f\0\0\xff\xd9' >>"$work/bomb.jpg"
printf 'BM\x3a\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\0\0\x01\0\0\0\x01\0\x01\0\x18\0\0\0\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0' >"$work/bomb.bmp"
for bomb in side.png area.png bomb.gif bomb.jpg bomb.bmp; do
    refused "$bomb" 422 'content\[0\]\.image: .*pixels' "{'image':'data:image/png;base64,@$work/$bomb@'}"
done
refused "a bomb in a list" 422 'pixels' "{'video':['$p','data:;base64,@$work/bomb.gif@']}"
alive "the server lives"

# ---- broken clips ----------------------------------------------------------------------------------
while read -r name pattern; do
    refused "$name" 422 "content\[0\]\.video: .*$pattern" "{'video':'data:video/mp4;base64,@$clips/bad/$name@'}"
done <<'END'
audio-only.mp4 no video stream
audio-only.webm no video stream
no-frames.mp4 no video stream
no-frames.avi holds no frame
no-frames.mkv ends too early
text.mp4 this is text
huge-size.mp4 pixels
huge-size.avi damaged
huge-rate.avi frames a second
cut-hevc.mp4 moov
cut-h264-moov-end.mp4 moov
END
for name in cut-h264-moov-start.mp4 cut-mpeg4.avi cut-vp9-odd-size.webm; do
    ask "$name: as far as it goes" 200 "{'video':'data:video/mp4;base64,@$clips/bad/$name@'}"
done
for n in 0 1 8 100 1000 4096; do
    head -c "$n" "$clips/h264-moov-end.mp4" >"$work/cut.mp4"
    refused "a clip of $n bytes" 422 'content\[0\]\.video: ' "{'video':'data:video/mp4;base64,@$work/cut.mp4@'}"
done
ask "one frame" 200 "{'video':'data:video/mp4;base64,@$clips/h264-one-frame.mp4@'}"
refused "a stretch behind the end" 400 'content\[0\]\.video: the stretch from 1000 to' "{'video':'$v','start':1000}"
alive "the server lives on"

# ---- limits ----------------------------------------------------------------------------------------
cp "tests/unit/media/data/1x1.webp" "$work/media/dot.webp"
repeated() { # n, text
    local out
    printf -v out "%*s" "$1" ""
    out=${out// /$2,}
    printf '%s' "${out%,}"
}
dot="{'image':'dot.webp','max_pixels':1024}"
ask "128 pictures" 200 "$(repeated 128 "$dot")"
refused "129 pictures" 400 'content\[128\]: more than 128 pictures and clips' "$(repeated 129 "$dot")"
refused "2049 pictures in lists" 400 'more than 2048 pictures in lists' "{'video':[$(repeated 1024 "'dot.webp'")]},{'video':[$(repeated 1025 "'dot.webp'")]}"
refused "a prompt that does not fit" 400 '' "$(repeated 40 "{'image':'shapes.png','min_pixels':1000000}")"
json "by its name" '"code":"context_length_exceeded"'
refused "a path that is too long" 400 'a path of 4999 bytes' "{'image':'$(repeated 2500 a)'}"

# ---- files -----------------------------------------------------------------------------------------
for uri in none.png ../secret.png file:///../secret.png file:///%2e%2e/secret.png file://"$work"/secret.png /etc/passwd \
    file:///etc/passwd file:///etc/none /proc/self/environ /dev/zero out.png link.png fifo sub file:/// sub/../../secret.png; do
    refused "$uri" 422 "there is no such file below the server's media folder" "{'image':'$uri'}"
done
refused "another computer's file" 422 "there is no such file" "{'image':'file://other/etc/passwd'}"
refused "a NUL" 400 'holds a NUL' "{'image':'file:///a%00b'}"
refused "an upload without one" 400 'no part of this name' "{'image':'upload:a'}"
refused "another scheme" 400 'nothing is fetched by s3' "{'image':'s3://bucket/a.png'}"
refused "URLs are not fetched unless wanted" 400 'this server fetches no URLs \(--allow-url-fetch lets it\)' "{'image':'https://example.org/a.png'}"
json "with a code" '"type":"invalid_request_error","param":"messages","code":"url_fetch_disabled"'
stop "it ends" TERM 0
grep -q "$work/media\|/etc/passwd" "$work/log" && bad "no path in the log" "$(grep -m1 passwd "$work/log")" || ok "no path in the log"

# ---- without a folder, and with URLs ---------------------------------------------------------------
start --allow-url-fetch --log-file "$work/log2"
refused "files are not read unless wanted" 400 'this server reads no files \(--media-path lets it\)' "{'image':'file:///etc/passwd'}"
json "with a code" '"code":"file_access_disabled"'
refused "nor paths" 400 'this server reads no files' "{'image':'/etc/passwd'}"
for uri in https://127.0.0.1/ https://2130706433/ https://0x7f.1/ 'https://[::1]/' 'https://[::ffff:10.0.0.1]/' https://169.254.169.254/ \
    http://example.org/ https://localhost/ 'https://user:pw\u0040example.org/' https://example.org:22/ 'https://example.org\\\u0040127.0.0.1/' \
    https://127.0.0.1.:443/ ; do
    refused "$uri" 400 'messages\[0\]\.content\[0\]\.image: ' "{'image':'$uri'}"
    json "$uri: with the code of a wrong value" '"code":"invalid_value"'
done
stop "it ends" TERM 0

# ---- real pictures and clips -----------------------------------------------------------------------
data=${QVL_DATA:-../shared/data}
if [ -d "$data/photos" ]; then
    start --log-file "$work/log3"
    for photo in "$data"/photos/*; do
        ask "$(basename "$photo")" 200 "{'image':'data:;base64,@$photo@','max_pixels':100000}"
    done
    for clip in "$data"/video/*.mp4; do
        ask "$(basename "$clip")" 200 "{'video':'data:;base64,@$clip@','fps':0.5,'max_frames':6,'max_pixels':50000}"
    done
    stop "it ends" TERM 0
else
    echo "SKIP: $data is not there: no real pictures and clips"
fi
finish
