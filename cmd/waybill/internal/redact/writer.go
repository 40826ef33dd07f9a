package redact

import (
	"encoding/json"
	"io"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Redactor masks the secrets it has learned, and the passwords of all URLs, in text. It is the last net: drivers and
// servers put what they were given into errors in forms of their own.
type Redactor struct {
	mu    sync.RWMutex
	known []string
	mask  *strings.Replacer
}

// Learn takes the secrets that stand in urls. A password shorter than six characters, or equal to a word that the URL shows
// anyway (postgres://postgres:postgres@...), is masked only where it stands in a URL: as a word it says nothing.
func (r *Redactor) Learn(urls ...Secret) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, u := range urls {
		shown := u.String()
		secrets := secretsIn(u.Reveal())
		if u.hidden {
			secrets = []string{u.Reveal()}
		}
		for _, secret := range secrets {
			for _, form := range forms(secret) {
				if len(form) >= 6 && !strings.Contains(shown, form) && !slices.Contains(r.known, form) {
					r.known = append(r.known, form)
				}
			}
		}
	}
	// The longest first: a form may stand inside another.
	slices.SortFunc(r.known, func(a, b string) int { return len(b) - len(a) })
	pairs := make([]string, 0, 2*len(r.known))
	for _, k := range r.known {
		pairs = append(pairs, k, mask)
	}
	r.mask = strings.NewReplacer(pairs...)
}

func secretsIn(u string) (secrets []string) {
	for _, s := range find(u, "") {
		secrets = append(secrets, u[s.from:s.to])
	}
	for _, m := range pair.FindAllStringSubmatch(u, -1) {
		secrets = append(secrets, m[2])
	}
	return secrets
}

// forms returns how secret, as it stands in a URL, may come back: decoded, encoded, quoted.
func forms(secret string) []string {
	all := []string{secret}
	// A parser that took a raw / or @ for the end of the password reports the piece before it.
	all = append(all, strings.FieldsFunc(secret, func(r rune) bool { return strings.ContainsRune("/#?@:", r) })...)
	for _, decode := range []func(string) (string, error){url.PathUnescape, url.QueryUnescape} {
		if plain, err := decode(secret); err == nil {
			all = append(all, plain)
		}
	}
	for _, plain := range slices.Clone(all) {
		quoted, _ := json.Marshal(plain) // a string always encodes
		all = append(all, url.QueryEscape(plain), url.PathEscape(plain), url.User(plain).String(), string(quoted[1:len(quoted)-1]))
	}
	return all
}

// Text returns text without secrets.
func (r *Redactor) Text(text string) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.mask != nil {
		text = r.mask.Replace(text)
	}
	return Text(text)
}

// Writer returns a writer that masks what is written through it. Each Write must hold whole lines.
func (r *Redactor) Writer(w io.Writer) io.Writer { return writer{r, w} }

type writer struct {
	r *Redactor
	w io.Writer
}

func (w writer) Write(p []byte) (int, error) {
	if _, err := io.WriteString(w.w, w.r.Text(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}
