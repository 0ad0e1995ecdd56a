/* Translates sentences with an exported SavedModel. It needs only TensorFlow's C library, not Python.
 *
 *     translate [-l OP_LIBRARY]... EXPORT INPUT OUTPUT SENTENCE...
 *
 * EXPORT is the folder of a version. INPUT and OUTPUT are tensors of its signature, for example
 * serving_default_sentences:0 and StatefulPartitionedCall:1. Each OP_LIBRARY holds ops of TensorFlow Text. The program
 * sends all sentences as one batch and prints one translation on each line.
 *
 * Exit codes: 2 wrong usage; 3 an op library, 4 the export, 5 a tensor's name or 6 the translation is wrong.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tensorflow/c/c_api.h"
#include "tensorflow/c/tf_tstring.h"

enum { USAGE = 2, LIBRARY, EXPORT, TENSOR, TRANSLATION };

static void check(TF_Status *status, int code, const char *what) {
  if (TF_GetCode(status) == TF_OK) return;
  fprintf(stderr, "translate: %s: %s\n", what, TF_Message(status));
  exit(code);
}

/* The tensor that "operation:index" names. */
static TF_Output find(TF_Graph *graph, const char *name) {
  const char *colon = strrchr(name, ':');
  char *end = NULL;
  long index = colon ? strtol(colon + 1, &end, 10) : -1;
  if (index < 0 || end == colon + 1 || *end) {
    fprintf(stderr, "translate: %s: the name of a tensor is operation:index\n", name);
    exit(TENSOR);
  }
  char *operation = strndup(name, (size_t)(colon - name));
  TF_Output found = {TF_GraphOperationByName(graph, operation), (int)index};
  free(operation);
  if (!found.oper || index >= TF_OperationNumOutputs(found.oper)) {
    fprintf(stderr, "translate: %s: the export has no such tensor\n", name);
    exit(TENSOR);
  }
  if (TF_OperationOutputType(found) != TF_STRING) {
    fprintf(stderr, "translate: %s: is not a tensor of strings\n", name);
    exit(TENSOR);
  }
  return found;
}

/* A string tensor of shape [count]. */
static TF_Tensor *batch(char *const *sentences, int count) {
  int64_t shape[] = {count};
  TF_Tensor *tensor = TF_AllocateTensor(TF_STRING, shape, 1, (size_t)count * sizeof(TF_TString));
  TF_TString *strings = TF_TensorData(tensor);
  for (int i = 0; i < count; i++) {
    TF_StringInit(&strings[i]);
    TF_StringCopy(&strings[i], sentences[i], strlen(sentences[i]));
  }
  return tensor;
}

/* Frees a tensor and its strings. */
static void drop(TF_Tensor *tensor) {
  TF_TString *strings = TF_TensorData(tensor);
  for (int64_t i = 0; i < TF_TensorElementCount(tensor); i++) TF_StringDealloc(&strings[i]);
  TF_DeleteTensor(tensor);
}

int main(int argc, char **argv) {
  TF_Status *status = TF_NewStatus();
  for (int option; (option = getopt(argc, argv, "+l:")) != -1;) {
    if (option != 'l') return USAGE;
    TF_LoadLibrary(optarg, status); /* it stays loaded until the process ends */
    check(status, LIBRARY, optarg);
  }
  if (argc - optind < 4) {
    fprintf(stderr, "usage: translate [-l OP_LIBRARY]... EXPORT INPUT OUTPUT SENTENCE...\n");
    return USAGE;
  }
  char **arguments = argv + optind;
  int count = argc - optind - 3;

  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  const char *tags[] = {"serve"};
  TF_Session *session = TF_LoadSessionFromSavedModel(options, NULL, arguments[0], tags, 1, graph, NULL, status);
  check(status, EXPORT, arguments[0]);
  TF_Output input = find(graph, arguments[1]), output = find(graph, arguments[2]);

  TF_Tensor *sentences = batch(arguments + 3, count), *translations = NULL;
  TF_SessionRun(session, NULL, &input, &sentences, 1, &output, &translations, 1, NULL, 0, NULL, status);
  check(status, TRANSLATION, "cannot translate");
  if (TF_NumDims(translations) != 1 || TF_Dim(translations, 0) != count) {
    fprintf(stderr, "translate: %s: does not give one string for each sentence\n", arguments[2]);
    return TRANSLATION;
  }
  const TF_TString *strings = TF_TensorData(translations);
  for (int i = 0; i < count; i++) {
    fwrite(TF_StringGetDataPointer(&strings[i]), 1, TF_StringGetSize(&strings[i]), stdout);
    putchar('\n');
  }

  drop(sentences);
  drop(translations);
  TF_DeleteSession(session, status);
  check(status, TRANSLATION, "cannot close the session");
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return fflush(stdout) ? TRANSLATION : 0;
}
