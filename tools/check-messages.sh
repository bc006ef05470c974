#!/usr/bin/env bash
# The table of Chinese sentences (src/base/messages_zh.h) against the sources: every sentence that the sources hand to
# a function of %before stands in it once, nothing else does, it is sorted, its printf conversions are the same, and
# what is said in Chinese has a Chinese character (or the wide colon) and no narrow punctuation beside one.
# usage: tools/check-messages.sh [--list]   --list: the sentences that are missing, as C strings
set -u
cd "$(dirname "$0")/.."
exec perl -CS - "$@" <<'PERL'
use strict; use warnings; use utf8;
my $list = @ARGV && $ARGV[0] eq '--list';
my %macro = (PRIu32 => 'u', PRId32 => 'd', PRIu64 => 'lu', PRId64 => 'ld', PRIx64 => 'lx');
# The text of adjacent literals (and PRI macros) at the start of $_[0]; undef where it does not start with one.
sub literal {
    my ($s, $text, $n) = ($_[0], '', 0);
    while (1) {
        $s =~ s{^(\s|/\*.*?\*/)+}{}s;
        if ($s =~ s/^"((?:[^"\\\n]|\\.)*)"//) { $text .= $1; $n++ }
        elsif ($s =~ s/^(PRI[a-z]\d+)\b// && exists $macro{$1}) { $text .= $macro{$1} }
        else { last }
    }
    return ($n ? $text : undef, $s);
}
# $n arguments of a call passed over.
sub skip_arguments {
    my ($s, $n) = @_;
    my $depth = 0;
    while ($n > 0) {
        if ($s =~ s/^"(?:[^"\\\n]|\\.)*"//) { next }
        return undef unless $s =~ s/^(.)//s;
        my $c = $1;
        if ($c eq '(' || $c eq '{' || $c eq '[') { $depth++ }
        elsif ($c eq ')' || $c eq '}' || $c eq ']') { return undef if --$depth < 0 }
        elsif ($c eq ',' && $depth == 0) { $n-- }
    }
    return $s;
}
my %said;
# Functions that look a text up, and how many arguments stand before it.
my %before = (qvl_fail => 2, qvl_fail_memory => 2, qvl_arena_alloc => 3, qvl_grow => 4, qvl_text => 0, QVL_SAID => 0,
              qvl_progress_say => 1, qvl_progress_say_dim => 1, not_json => 1, not_a_regex => 1, too_large => 2, say_why => 1, qvl_hub_pull_note => 1, qvl_schema_refuse => 4, qvl_schema_cannot => 4, unexpected => [2, 3]);
my $sayers = join '|', sort { length $b <=> length $a } keys %before;
my @files = split /\n/, `find src -name '*.[ch]' ! -name messages_zh.h ! -path 'src/media/helper/*' | sort`;
for my $file (@files) {
    open my $in, '<:encoding(UTF-8)', $file or die "$file: $!";
    my $source = do { local $/; <$in> };
    while ($source =~ /\b($sayers)\(/g) {
        my ($n_before, $rest) = ($before{$1}, substr($source, pos($source), 4000));
        for my $n (ref $n_before ? @$n_before : $n_before) {
            my $at = skip_arguments($rest, $n);
            next unless defined $at;
            # each branch of a conditional that chooses between sentences counts
            $at =~ s/^[^",;]*?\?\s*(?=")// if $at !~ /^\s*"/;
            while (1) {
                my ($text, $after) = literal($at);
                last unless defined $text;
                $said{$text} //= $file;
                last unless $after =~ s/^\s*:\s*(?:[^",;]*?\?\s*)?(?=")//s;
                $at = $after;
            }
        }
    }
}
my (@bad, %have, @keys, %chinese);
{
    open my $in, '<:encoding(UTF-8)', 'src/base/messages_zh.h' or die $!;
    my $table = do { local $/; <$in> };
    $table =~ s{^/\*.*?\*/}{}s;
    while ($table =~ /\S/) {
        $table =~ s/^\s*\{//s or do { push @bad, "not a row: " . substr($table, 0, 60); last };
        (my $english, $table) = literal($table);
        $table =~ s/^\s*,//;
        (my $zh, $table) = literal($table);
        $table =~ s/^\s*\},//s or do { push @bad, "a row that does not end: " . ($english // ''); last };
        push @bad, "twice: $english" if $have{$english}++;
        push @keys, $english;
        $chinese{$english} = $zh;
    }
}
sub key { my $s = $_[0]; $s =~ s/\\n/\n/g; $s =~ s/\\t/\t/g; $s =~ s/\\"/"/g; $s =~ s/\\\\/\\/g; utf8::encode($s); $s }
for my $i (1 .. $#keys) {
    push @bad, "not in order: $keys[$i]" if key($keys[$i - 1]) ge key($keys[$i]);
}
sub conversions { # in the order of the arguments
    my ($s, @c, $i) = ($_[0]);
    $s =~ s/%%//g;
    while ($s =~ /%(?:(\d+)\$)?([-+ #0]*)(\*|\d+)?(\.(?:\*|\d+))?(hh|h|ll|l|z|t|j)?([a-zA-Z])/g) {
        my $what = ($3 // '') eq '*' || ($4 // '') eq '.*' ? "*" : '';
        if (defined $1) { $c[$1 - 1] = $what . ($5 // '') . $6 } else { push @c, $what . ($5 // '') . $6 }
    }
    return join ' ', map { $_ // '?' } @c;
}
for my $english (sort keys %said) {
    next if $english !~ /[A-Za-z]{2}/; # nothing to translate
    if (!$have{$english}) { push @bad, "missing ($said{$english}): $english"; print "\"$english\"\n" if $list; next }
    my ($a, $b) = (conversions($english), conversions($chinese{$english}));
    push @bad, "conversions differ: $english | $a | $b" if $a ne $b;
}
for my $english (@keys) {
    push @bad, "said nowhere: $english" unless exists $said{$english};
    push @bad, "narrow punctuation: $chinese{$english}" if $chinese{$english} =~ /\p{Han}[,;:?!()]|[,;?!()]\p{Han}/;
    push @bad, "no Chinese: $english" unless $chinese{$english} =~ /[\p{Han}\x{FF1A}]/ || $chinese{$english} eq $english;
}
exit 0 if $list;
print "not ok $_\n" for @bad;
printf "ok %d sentences in two languages\n", scalar @keys unless @bad;
exit(@bad ? 1 : 0);
PERL
