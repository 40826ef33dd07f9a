package waybill

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"unicode/utf8"
)

func TestHeadersAreStoredAsPairsInTheirOrder(t *testing.T) {
	t.Parallel()
	for stored, headers := range map[string][]Header{
		"":                             nil,
		`[["b","1"],["a",""]]`:         {{"b", "1"}, {"a", ""}},
		`[["q","\u0022\u005c\u0009"]]`: {{"q", "\"\\\t"}},
		`[["e","€𝄞"]]`:                 {{"e", "€𝄞"}},
	} {
		if got := EncodeHeaders(headers); got != stored {
			t.Errorf("encode %q: %s, want %s", headers, got, stored)
		}
		if got, err := DecodeHeaders(stored); err != nil || !reflect.DeepEqual(got, headers) {
			t.Errorf("decode %s: %q, %v, want %q", stored, got, err, headers)
		}
	}
}

func TestDecodeHeadersTakesAnyJSONOfTheSameMeaning(t *testing.T) {
	t.Parallel()
	for stored, want := range map[string][]Header{
		` [ [ "a" , "b" ] , ["c","\u20ac"] ] `: {{"a", "b"}, {"c", "€"}},
		`[]`:                                   {},
		"[[\n\"a\",\t\"b\"]]":                  {{"a", "b"}},
	} {
		if got, err := DecodeHeaders(stored); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("decode %s: %q, %v, want %q", stored, got, err, want)
		}
	}
}

func TestDecodeHeadersRefusesAnythingElse(t *testing.T) {
	t.Parallel()
	for _, stored := range []string{
		`{"a":"b"}`, `[["a"]]`, `[["a","b","c"]]`, `[["a",1]]`, `[["a",null]]`, `[null]`, `["a","b"]`, `[["a","b"]] x`, `[["a","b"]`,
		`[["a","b"],]`, `[["a","b"]["c","d"]]`, `[["a""b"]]`, `x`, "[[\"a\",\"\x01\"]]",
	} {
		if got, err := DecodeHeaders(stored); !errors.Is(err, ErrHeaders) {
			t.Errorf("decode %s: %q, %v, want ErrHeaders", stored, got, err)
		}
	}
}

// The quick way of reading must mean what encoding/json means.
func FuzzDecodeHeaders(f *testing.F) {
	for _, s := range []string{`[["a","b"]]`, `[["a","b"],["c","d"]]`, `[["a","b"]]]`, `[["a","\"b"]]`, `[["a","b"],[]]`, `[]`, `null`, "[[\"\x7f\",\"\"]]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, stored string) {
		if stored == "" || !utf8.ValidString(stored) {
			return // databases keep valid UTF-8
		}
		var want [][]*string
		bad := json.Unmarshal([]byte(stored), &want) != nil
		for _, p := range want {
			bad = bad || len(p) != 2 || p[0] == nil || p[1] == nil
		}
		got, err := DecodeHeaders(stored)
		if (err != nil) != bad || err == nil && len(got) != len(want) {
			t.Fatalf("decode %q: %q, %v", stored, got, err)
		}
		for i, h := range got {
			if h.Name != *want[i][0] || h.Value != *want[i][1] {
				t.Errorf("decode %q: %q", stored, got)
			}
		}
	})
}
