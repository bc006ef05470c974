#!/usr/bin/env bash
# No inner loop of a kernel spills: in the disassembly of BUILD's gemm_* and attention_* objects, no innermost loop with
# multiply-adds in it moves a whole vector register to or from a fixed place of the stack. First the check checks
# itself, on two loops of which one has more sums than there are registers. What it looked at is listed.
#
# Loops are found as cycles of the flow graph. Only gcc's code for x86-64 and aarch64 without sanitizers is looked at: it
# is what the tiles are cut for. Arrays on the stack are read through an index or number by number: no spill.
# usage: tools/check-spills.sh [BUILD [TOOLS]]    TOOLS: prefix of another machine's programs, "aarch64-linux-gnu-"
set -u
cd "$(dirname "$0")/.."
build=${1:-build}
tools=${2:-}
command -v "${tools}objdump" >/dev/null || {
    echo "SKIP: no ${tools}objdump: spills of inner loops are not looked for"
    exit 0
}
machine=$("${tools}gcc" -dumpmachine 2>/dev/null | cut -d- -f1)

# Disassembly in, verdict out.
look() {
    "${tools}objdump" -d --no-show-raw-insn "$1" | perl -e '
        use strict; use warnings;
        my ($name, $machine, $function, $n_loop, $n_mac, @code, @bad, @next, @before) = (shift, shift, "", 0, 0);
        my $is_arm = $machine eq "aarch64";
        my $mac = $is_arm ? qr/^(fmla|s?mla|[su]mlal2?|[su]dot|[su]mmla|bfdot|bfmmla|bfmlal[bt])\s+v/
                          : qr/^(vf?n?m(add|sub)\d|vpmadd|vpdp|vdpbf16|tdp)/;
        my $end = $is_arm ? qr/^(b|br|ret|udf|brk)\s*\b(?!\.)/ : qr/^(notrack )?(jmp|ret|ud2)/;
        my $jump = $is_arm ? qr/^(?:b|b\.\w+|cbn?z\s+\w+,|tbn?z\s+\w+, #\w+,)\s+([0-9a-f]+)\b/ : qr/^j\w+\s+([0-9a-f]+)\b/;
        # Does the instruction move a vector register to or from a place that only the compiler can have chosen?
        sub is_spill {
            my ($text, $stack) = @_;
            return $text =~ /^(ld|st)(r|ur|p)\s+q\d.*$stack/ if $is_arm;
            return $text =~ $stack && $text =~ /%[xyz]mm/ && $text !~ /^v(p?broadcast|mov(ss|sd|d|q)\b)/;
        }
        # Sets of instructions within a set that can reach each other (Kosaraju).
        sub cycles {
            my ($in) = @_;
            my (%is_seen, @order, %is_taken, @cycles);
            for my $root (sort { $a <=> $b } keys %$in) {
                my @path = $is_seen{$root}++ ? () : [$root, 0];
                while (@path) {
                    my $to = $next[$path[-1][0]][$path[-1][1]++];
                    if (!defined $to) { push @order, (pop @path)->[0] }
                    elsif ($in->{$to} && !$is_seen{$to}++) { push @path, [$to, 0] }
                }
            }
            for my $root (reverse @order) {
                my @todo = $is_taken{$root}++ ? () : $root;
                my %cycle;
                while (defined(my $i = pop @todo)) {
                    $cycle{$i} = 1;
                    push @todo, grep { $in->{$_} && !$is_taken{$_}++ } @{$before[$i]};
                }
                push @cycles, \%cycle if keys %cycle > 1;
            }
            return @cycles;
        }
        # A loop without its entries has cycles only where there are loops in it.
        sub innermost {
            my ($loop) = @_;
            my %rest = map { $_ => 1 } grep { !grep { !$loop->{$_} } @{$before[$_]} } keys %$loop;
            my @inner = keys %rest < keys %$loop ? cycles(\%rest) : ();
            return @inner ? map { innermost($_) } @inner : $loop;
        }
        sub end_of_function {
            my %index = map { $code[$_]{at} => $_ } 0 .. $#code;
            my $has_frame = grep { $_->{text} =~ /^mov\s+(%rsp,%rbp|x29, sp)/ } @code;
            my $stack = $is_arm ? ($has_frame ? qr/\[(sp|x29)(, #-?\d+)?\]/ : qr/\[sp(, #-?\d+)?\]/)
                                : ($has_frame ? qr/\(%r[sb]p\)/ : qr/\(%rsp\)/);
            @next = map { [] } @code;
            @before = map { [] } @code;
            for my $i (0 .. $#code) {
                my $text = $code[$i]{text};
                push @{$next[$i]}, $i + 1 if $text !~ $end && $i < $#code;
                push @{$next[$i]}, $index{hex $1} if $text =~ $jump && defined $index{hex $1};
                push @{$before[$_]}, $i for @{$next[$i]};
            }
            for my $loop (map { innermost($_) } cycles({map { $_ => 1 } 0 .. $#code})) {
                my @inside = sort { $a <=> $b } keys %$loop;
                my $n = grep { $code[$_]{text} =~ $mac } @inside or next;
                $n_mac += $n;
                $n_loop++;
                for my $i (@inside) {
                    push @bad, sprintf "%s: %x: %s", $function, $code[$i]{at}, $code[$i]{text}
                        if is_spill($code[$i]{text}, $stack);
                }
            }
            @code = ();
        }
        while (<STDIN>) {
            if (/^[0-9a-f]+ <(.+)>:/) { end_of_function(); $function = $1 }
            elsif (/^\s+([0-9a-f]+):\s+(.*?)\s*(#\s.*|\/\/.*)?$/) { push @code, {at => hex $1, text => $2} }
        }
        end_of_function();
        printf "%s %s: %d inner loops, %d multiply-adds, %d moves to and from the stack\n",
            @bad ? "not ok" : "ok", $name, $n_loop, $n_mac, scalar @bad;
        splice @bad, 12, @bad - 12, "..." if @bad > 12;
        print "    $_\n" for @bad;
        exit(@bad ? 1 : 0);
    ' "$2" "$machine"
}

# A loop of $1 sums.
example() {
    cat <<C
#if defined(__x86_64__)
#include <immintrin.h>
#define VECTOR __m256
#define ZERO _mm256_setzero_ps()
#define STORE _mm256_storeu_ps
#define MULTIPLY_ADD(sum, w, x) _mm256_fmadd_ps(_mm256_loadu_ps(w), _mm256_broadcast_ss(x), sum)
#else
#include <arm_neon.h>
#define VECTOR float32x4_t
#define ZERO vdupq_n_f32(0)
#define STORE vst1q_f32
#define MULTIPLY_ADD(sum, w, x) vfmaq_f32(sum, vld1q_f32(w), vld1q_dup_f32(x))
#endif
void sums(float *c, const float *w, const float *x, unsigned long n);
void sums(float *c, const float *w, const float *x, unsigned long n)
{
    VECTOR sum[$1];
#pragma GCC unroll 64
    for (int t = 0; t < $1; t++)
        sum[t] = ZERO;
    for (unsigned long i = 0; i < n; i++)
#pragma GCC unroll 64
        for (int t = 0; t < $1; t++)
            sum[t] = MULTIPLY_ADD(sum[t], w + 8 * i, x + $1 * i + t);
#pragma GCC unroll 64
    for (int t = 0; t < $1; t++)
        STORE(c + 8 * t, sum[t]);
}
C
}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failed=0
case $machine in
x86_64) few=12 many=17 flags="-mavx2 -mfma" ;; # 16 registers
aarch64) few=12 many=33 flags= ;;              # 32 registers
*) few= ;;
esac
if [ -n "$few" ]; then
    for n in $few $many; do
        # shellcheck disable=SC2086 # flags are words
        example $n | "${tools}gcc" -O3 $flags -x c -c - -o "$folder/sums_$n.o" || exit 1
    done
    if ! look "$folder/sums_$few.o" sums >/dev/null; then
        echo "not ok the check finds spills where there are none"
        failed=1
    elif look "$folder/sums_$many.o" sums >/dev/null; then
        echo "not ok the check misses the spills of a loop that has more sums than registers"
        failed=1
    else
        echo "ok the check finds the spills of a loop with $many sums and none in one with $few"
    fi
fi

n_looked=0
for object in "$build"/src/kernel/{gemm,attention}_*.o; do
    name=$(basename "$object" .o)
    [[ -e $object && $name != *_scalar ]] || continue
    if ! readelf -p .comment "$object" | grep -q GCC || "${tools}nm" "$object" | grep -qE ' __(asan|ubsan|tsan)_'; then
        echo "SKIP: $name: not gcc's code without sanitizers"
        continue
    fi
    n_looked=$((n_looked + 1))
    look "$object" "$name" || failed=1
done
[ $n_looked -gt 0 ] || echo "SKIP: $build holds no kernels of vectors to look at"
exit $failed
