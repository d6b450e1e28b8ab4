/* A backend of Triton without processes of its own, as the C++ `onnxruntime` backend is.
 *
 * An execution computes for the number of milliseconds in its input. If the number is negative, it waits for as long
 * without computing: it hangs. The declarations are those parts of Triton's `tritonbackend.h` that are used here.
 */
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
enum { TYPE_FP32 = 11, CPU = 0, ALL = 1 };

typedef struct Error Error;
typedef struct Instance Instance;
typedef struct Request Request;
typedef struct Response Response;
typedef struct Input Input;
typedef struct Output Output;

Error* TRITONBACKEND_RequestInput(Request*, const char*, Input**);
Error* TRITONBACKEND_InputBuffer(Input*, uint32_t, const void**, uint64_t*, int*, int64_t*);
Error* TRITONBACKEND_ResponseNew(Response**, Request*);
Error* TRITONBACKEND_ResponseOutput(Response*, Output**, const char*, int, const int64_t*, uint32_t);
Error* TRITONBACKEND_OutputBuffer(Output*, void**, uint64_t, int*, int64_t*);
Error* TRITONBACKEND_ResponseSend(Response*, uint32_t, Error*);
Error* TRITONBACKEND_RequestRelease(Request*, uint32_t);
Error* TRITONBACKEND_ModelInstanceReportStatistics(
    Instance*, Request*, _Bool, uint64_t, uint64_t, uint64_t, uint64_t);
Error* TRITONBACKEND_ModelInstanceReportBatchStatistics(
    Instance*, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);

static uint64_t
now_ns(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void
take(float milliseconds)
{
  uint64_t end = now_ns() + (uint64_t)((milliseconds < 0 ? -milliseconds : milliseconds) * 1e6);
  while (now_ns() < end) {
    if (milliseconds < 0) {
      usleep(100000);
    }
  }
}

static void
answer(Instance* instance, Request* request)
{
  const int64_t shape[] = {1};
  const void* given;
  void* sent;
  uint64_t size, start = now_ns();
  int64_t device = 0;
  int memory = CPU;
  Input* input;
  Output* output;
  Response* response;
  TRITONBACKEND_RequestInput(request, "milliseconds", &input);
  TRITONBACKEND_InputBuffer(input, 0, &given, &size, &memory, &device);
  take(*(const float*)given);
  TRITONBACKEND_ResponseNew(&response, request);
  TRITONBACKEND_ResponseOutput(response, &output, "taken", TYPE_FP32, shape, 1);
  TRITONBACKEND_OutputBuffer(output, &sent, size, &memory, &device);
  *(float*)sent = *(const float*)given;
  TRITONBACKEND_ResponseSend(response, ALL, 0);
  uint64_t end = now_ns();
  TRITONBACKEND_ModelInstanceReportStatistics(instance, request, 1, start, start, end, end);
  TRITONBACKEND_ModelInstanceReportBatchStatistics(instance, 1, start, start, end, end);
  TRITONBACKEND_RequestRelease(request, ALL);
}

EXPORT Error*
TRITONBACKEND_ModelInstanceExecute(Instance* instance, Request** requests, const uint32_t count)
{
  for (uint32_t number = 0; number < count; ++number) {
    answer(instance, requests[number]);
  }
  return 0;
}
