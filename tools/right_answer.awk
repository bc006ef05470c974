# Whether the demo model's answer (said, in the environment) is the true one (truth): the same text, or boxes of the
# same labels in the same order, each of which overlaps the true one by 0.7 (intersection over union).
# usage: said=… truth=… awk -f tools/right_answer.awk     exit code 0: right, 1: wrong

function smaller(a, b) { return a < b ? a : b }
function larger(a, b) { return a > b ? a : b }

function area(x1, y1, x2, y2) { return larger(x2 - x1, 0) * larger(y2 - y1, 0) }

# Of two boxes "x1,y1,x2,y2".
function overlap(a, b,    p, q, both, all) {
    if (split(a, p, ",") != 4 || split(b, q, ",") != 4)
        return 0
    both = area(larger(p[1], q[1]), larger(p[2], q[2]), smaller(p[3], q[3]), smaller(p[4], q[4]))
    all = area(p[1], p[2], p[3], p[4]) + area(q[1], q[2], q[3], q[4]) - both
    return all > 0 ? both / all : 0
}

# box[i]: what stands between the brackets of each "bbox_2d"; returns the text without that.
function take_boxes(text, box,    part, n, i, at, rest) {
    n = split(text, part, /"bbox_2d":\[/)
    rest = part[1]
    for (i = 2; i <= n; i++) {
        at = index(part[i], "]")
        box[i - 1] = substr(part[i], 1, at - 1)
        rest = rest "[" substr(part[i], at)
    }
    return rest
}

BEGIN {
    said = ENVIRON["said"]
    truth = ENVIRON["truth"]
    if (said == truth)
        exit 0
    if (index(truth, "\"bbox_2d\":[") == 0 || take_boxes(said, a) != take_boxes(truth, b))
        exit 1
    for (i in b)
        if (overlap(a[i], b[i]) < 0.7)
            exit 1
    exit 0
}
