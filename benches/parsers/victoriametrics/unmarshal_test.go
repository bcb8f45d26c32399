// The speed of VictoriaMetrics' parser of the text format on the pages that PAGES names; called by scripts/bench/parsers.

package victoriametrics

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/VictoriaMetrics/lib/protoparser/prometheus"
)

func BenchmarkUnmarshal(b *testing.B) {
	for _, file := range strings.Fields(os.Getenv("PAGES")) {
		text, err := os.ReadFile(file)
		if err != nil {
			b.Fatal(err)
		}
		page := string(text)
		b.Run(filepath.Base(file), func(b *testing.B) {
			b.SetBytes(int64(len(page)))
			var rows prometheus.Rows
			for i := 0; i < b.N; i++ {
				rows.Reset()
				rows.UnmarshalWithErrLogger(page, func(message string) { panic(message) })
			}
		})
	}
}
