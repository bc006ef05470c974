#!/usr/bin/env bash
# No inner loop of a kernel spills: in the disassembly of BUILD's gemm_* and attention_* objects, no innermost loop with
# multiply-adds in it moves a whole vector register to or from a fixed place of the stack. First the check checks
# itself, on two loops of which one has more sums than there are registers. What it looked at is listed.
#
# Loops are found as cycles of the flow graph. Only gcc's code for x86-64 without sanitizers is looked at: it is
# what the tiles are cut for. Arrays on the stack are read through an index or number by number: no spill.
# usage: tools/check-spills.sh [BUILD]
set -u
cd "$(dirname "$0")/.."
build=${1:-build}
command -v objdump >/dev/null || { echo "SKIP: no objdump: spills of inner loops are not looked for"; exit 0; }

# Disassembly in, verdict out.
look() {
    objdump -d --no-show-raw-insn "$1" | perl -e '
        use strict; use warnings;
        my ($name, $function, $n_loop, $n_mac, @code, @bad, @next, @before) = (shift, "", 0, 0);
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
            my $has_frame = grep { $_->{text} =~ /^mov\s+%rsp,%rbp/ } @code;
            my $stack = $has_frame ? qr/\(%r[sb]p\)/ : qr/\(%rsp\)/;
            @next = map { [] } @code;
            @before = map { [] } @code;
            for my $i (0 .. $#code) {
                my $text = $code[$i]{text};
                push @{$next[$i]}, $i + 1 if $text !~ /^(notrack )?(jmp|ret|ud2)/ && $i < $#code;
                push @{$next[$i]}, $index{hex $1} if $text =~ /^j\w+\s+([0-9a-f]+)\b/ && defined $index{hex $1};
                push @{$before[$_]}, $i for @{$next[$i]};
            }
            for my $loop (map { innermost($_) } cycles({map { $_ => 1 } 0 .. $#code})) {
                my @inside = sort { $a <=> $b } keys %$loop;
                my $n = grep { $code[$_]{text} =~ /^(vf?n?m(add|sub)\d|vpmadd|vpdp|vdpbf16|tdp)/ } @inside or next;
                $n_mac += $n;
                $n_loop++;
                for my $i (@inside) {
                    my $text = $code[$i]{text};
                    push @bad, sprintf "%s: %x: %s", $function, $code[$i]{at}, $text
                        if $text =~ $stack && $text =~ /%[xyz]mm/ && $text !~ /^v(p?broadcast|mov(ss|sd|d|q)\b)/;
                }
            }
            @code = ();
        }
        while (<STDIN>) {
            if (/^[0-9a-f]+ <(.+)>:/) { end_of_function(); $function = $1 }
            elsif (/^\s+([0-9a-f]+):\s+(.*?)\s*(#.*)?$/) { push @code, {at => hex $1, text => $2} }
        }
        end_of_function();
        printf "%s %s: %d inner loops, %d multiply-adds, %d moves to and from the stack\n",
            @bad ? "not ok" : "ok", $name, $n_loop, $n_mac, scalar @bad;
        splice @bad, 12, @bad - 12, "..." if @bad > 12;
        print "    $_\n" for @bad;
        exit(@bad ? 1 : 0);
    ' "$2"
}

# A loop of $1 sums: 17 do not fit in 16 registers.
example() {
    cat <<C
#include <immintrin.h>
void sums(float *c, const float *w, const float *x, unsigned long n);
void sums(float *c, const float *w, const float *x, unsigned long n)
{
    __m256 sum[$1];
#pragma GCC unroll 32
    for (int t = 0; t < $1; t++)
        sum[t] = _mm256_setzero_ps();
    for (unsigned long i = 0; i < n; i++)
#pragma GCC unroll 32
        for (int t = 0; t < $1; t++)
            sum[t] = _mm256_fmadd_ps(_mm256_loadu_ps(w + 8 * i), _mm256_broadcast_ss(x + $1 * i + t), sum[t]);
#pragma GCC unroll 32
    for (int t = 0; t < $1; t++)
        _mm256_storeu_ps(c + 8 * t, sum[t]);
}
C
}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failed=0
if [ "$(gcc -dumpmachine 2>/dev/null | cut -d- -f1)" = x86_64 ]; then
    for n in 12 17; do
        example $n | gcc -O3 -mavx2 -mfma -x c -c - -o "$folder/sums_$n.o" || exit 1
    done
    if ! look "$folder/sums_12.o" sums >/dev/null; then
        echo "not ok the check finds spills where there are none"
        failed=1
    elif look "$folder/sums_17.o" sums >/dev/null; then
        echo "not ok the check misses the spills of a loop that has more sums than registers"
        failed=1
    else
        echo "ok the check finds the spills of a loop with 17 sums and none in one with 12"
    fi
fi

n_looked=0
for object in "$build"/src/kernel/{gemm,attention}_*_{avx2,vnni,avx512,bf16,amx}.o \
    "$build"/src/kernel/{gemm,attention}_{avx2,avx512,amx}.o; do
    [ -e "$object" ] || continue
    name=$(basename "$object" .o)
    if ! readelf -p .comment "$object" | grep -q GCC || nm "$object" | grep -qE ' __(asan|ubsan|tsan)_'; then
        echo "SKIP: $name: not gcc's code without sanitizers"
        continue
    fi
    n_looked=$((n_looked + 1))
    look "$object" "$name" || failed=1
done
[ $n_looked -gt 0 ] || echo "SKIP: $build holds no x86-64 kernels to look at"
exit $failed
