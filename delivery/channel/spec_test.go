package channel

import (
	"os"
	"path/filepath"
	"testing"
)

// specs is the folder of the services' published schemas: the one that
// AFTERBEEP_SPECS names, or shared/specs beside the repository.
func specs(t *testing.T) (folder string, ok bool) {
	t.Helper()
	if folder = os.Getenv("AFTERBEEP_SPECS"); folder != "" {
		return folder, true
	}
	at, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; at != filepath.Dir(at); at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			folder = filepath.Join(filepath.Dir(at), "shared", "specs")
			_, err = os.Stat(folder)
			return folder, err == nil
		}
	}
	return "", false
}
