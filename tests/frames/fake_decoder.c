/* A GStreamer plugin for tests: H.264 decoders under the names of hardware ones. Inside is avdec_h264; what each does besides
 * is said in GST_FAKE_DECODERS, such as "vah264dec:good,nvh264dec:middle".
 *   good    decodes                              start   cannot be started
 *   wrong   decodes, but paints all pictures grey  middle  fails after 6 pictures
 *   hang    stops for ever after 6 pictures        crash   aborts after 6 pictures
 *   escape  tries what a decoder must not be able to do, and says so if it succeeds
 * The built-in clip on which decoders prove themselves has 5 pictures: "middle", "hang" and "crash" pass that proof. */
#define _GNU_SOURCE
#include <gst/gst.h>
#include <string.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PACKAGE "fake"
#define LATE 6

typedef struct { GstBin bin; gint seen; } Fake;
typedef struct { GstBinClass parent; const gchar *mode; } FakeClass;
static GstElementClass *parent_class;

static GstStaticPadTemplate sink_template = GST_STATIC_PAD_TEMPLATE ("sink", GST_PAD_SINK, GST_PAD_ALWAYS,
    GST_STATIC_CAPS ("video/x-h264, alignment=(string)au"));
static GstStaticPadTemplate src_template = GST_STATIC_PAD_TEMPLATE ("src", GST_PAD_SRC, GST_PAD_ALWAYS,
    GST_STATIC_CAPS ("video/x-raw"));

static const gchar *mode_of (gpointer fake) { return ((FakeClass *) G_OBJECT_GET_CLASS (fake))->mode; }

static GstPadProbeReturn picture (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  Fake *fake = data;
  const gchar *mode = mode_of (fake);
  if (!strcmp (mode, "wrong")) {
    GstBuffer *buffer = gst_buffer_copy_deep (GST_PAD_PROBE_INFO_BUFFER (info));
    gst_buffer_memset (buffer, 0, 90, gst_buffer_get_size (buffer));
    gst_buffer_unref (GST_PAD_PROBE_INFO_BUFFER (info));
    GST_PAD_PROBE_INFO_DATA (info) = buffer;
  }
  if (++fake->seen <= LATE) return GST_PAD_PROBE_OK;
  if (!strcmp (mode, "crash")) abort ();
  if (!strcmp (mode, "hang")) for (;;) g_usleep (G_USEC_PER_SEC);
  if (!strcmp (mode, "middle")) {
    GST_ELEMENT_ERROR (fake, RESOURCE, FAILED, ("the device is gone"), (NULL));
    GST_PAD_PROBE_INFO_FLOW_RETURN (info) = GST_FLOW_ERROR;
    gst_buffer_unref (GST_PAD_PROBE_INFO_BUFFER (info));
    GST_PAD_PROBE_INFO_DATA (info) = NULL;
    return GST_PAD_PROBE_HANDLED;
  }
  return GST_PAD_PROBE_OK;
}

static gboolean opens (const gchar *path, int flags)
{
  int fd = open (path, flags | O_CLOEXEC, 0600);
  if (fd >= 0) close (fd);
  return fd >= 0;
}

/* What the file system would give away. Kernels without landlock leave that to the service's unit. */
static const gchar *read_or_write (void)
{
  gchar *environ = g_strdup_printf ("/proc/%d/environ", getppid ()), *memory = g_strdup_printf ("/proc/%d/mem", getppid ());
  const gchar *registry = g_getenv ("GST_REGISTRY"), *way = NULL;
  if (opens ("/etc/passwd", O_RDONLY) || opens ("/", O_RDONLY | O_DIRECTORY) || opens ("/root", O_RDONLY | O_DIRECTORY)) way = "read";
  if (opens (environ, O_RDONLY) || opens (memory, O_RDONLY)) way = "read the daemon";
  if (opens ("/tmp/escaped", O_CREAT | O_WRONLY) || opens ("/dev/shm/escaped", O_CREAT | O_WRONLY)) way = "write";
  if (opens ("/usr/bin/escaped", O_CREAT | O_WRONLY) || (registry && opens (registry, O_WRONLY))) way = "write what others run";
  if (mkdir ("/tmp/escaped", 0700) == 0 || (registry && unlink (registry) == 0)) way = "change folders";
  g_free (environ);
  g_free (memory);
  return way;
}

static const gchar *beyond_limits (void)
{
  struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
  if (mmap (NULL, (size_t) 5 << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED) return "memory";
  signal (SIGXFSZ, SIG_IGN);
  if (ftruncate (memfd_create ("large", MFD_CLOEXEC), (off_t) 1 << 30) == 0) return "file size";
  for (int what = 0; what < 2; what++) {
    const int resources[] = { RLIMIT_DATA, RLIMIT_FSIZE };
    /* Root may raise what it lowered; a system service's user may not. */
    if (geteuid () != 0 && setrlimit (resources[what], &limit) == 0) return "limits";
  }
  return NULL;
}

static const gchar *escape (void)
{
  const gchar *way = NULL;
  if (socket (AF_INET, SOCK_STREAM, 0) >= 0 || socket (AF_INET6, SOCK_DGRAM, 0) >= 0 || socket (AF_VSOCK, SOCK_STREAM, 0) >= 0) return "network";
  if (syscall (444 /* landlock_create_ruleset */, NULL, 0, 1 /* the version */) > 0 && (way = read_or_write ())) return way;
  if ((way = beyond_limits ())) return way;
  if (kill (getppid (), 0) == 0) return "signal";
  if (ptrace (PTRACE_ATTACH, getppid (), NULL, NULL) == 0) return "trace";
  if (unshare (CLONE_NEWUSER) == 0) return "namespace";
  execl ("/bin/true", "true", NULL);
  return access ("/proc/self/environ", R_OK) ? "no proc" : NULL;
}

static GstStateChangeReturn change_state (GstElement *element, GstStateChange change)
{
  if (change == GST_STATE_CHANGE_NULL_TO_READY && !strcmp (mode_of (element), "start")) return GST_STATE_CHANGE_FAILURE;
  if (change == GST_STATE_CHANGE_NULL_TO_READY && !strcmp (mode_of (element), "escape")) {
    const gchar *way = escape ();
    if (way) {
      GST_ELEMENT_ERROR (element, LIBRARY, FAILED, ("escaped: %s", way), (NULL));
      return GST_STATE_CHANGE_FAILURE;
    }
  }
  return parent_class->change_state (element, change);
}

static void class_init (gpointer klass, gpointer mode)
{
  GstElementClass *element = klass;
  parent_class = g_type_class_peek_parent (klass);
  ((FakeClass *) klass)->mode = mode;
  element->change_state = change_state;
  gst_element_class_add_static_pad_template (element, &sink_template);
  gst_element_class_add_static_pad_template (element, &src_template);
  gst_element_class_set_static_metadata (element, "fake", "Codec/Decoder/Video/Hardware", "for tests", "edgelabel");
}

static void instance_init (GTypeInstance *instance, gpointer klass)
{
  GstElement *decoder = gst_element_factory_make ("avdec_h264", NULL);
  GstPad *sink = gst_element_get_static_pad (decoder, "sink"), *src = gst_element_get_static_pad (decoder, "src");
  gst_bin_add (GST_BIN (instance), decoder);
  gst_pad_add_probe (src, GST_PAD_PROBE_TYPE_BUFFER, picture, instance, NULL);
  gst_element_add_pad (GST_ELEMENT (instance), gst_ghost_pad_new ("sink", sink));
  gst_element_add_pad (GST_ELEMENT (instance), gst_ghost_pad_new ("src", src));
  gst_object_unref (sink);
  gst_object_unref (src);
}

static gboolean plugin_init (GstPlugin *plugin)
{
  gchar **fakes = g_strsplit (g_getenv ("GST_FAKE_DECODERS") ? g_getenv ("GST_FAKE_DECODERS") : "", ",", -1);
  for (gchar **fake = fakes; *fake; fake++) {
    gchar **name = g_strsplit (*fake, ":", 2);
    GTypeInfo info = { sizeof (FakeClass), NULL, NULL, class_init, NULL, g_strdup (name[1]), sizeof (Fake), 0, instance_init, NULL };
    gchar *type = g_strdup_printf ("Fake-%s", name[0]);
    gst_element_register (plugin, name[0], GST_RANK_NONE, g_type_register_static (GST_TYPE_BIN, type, &info, 0));
    g_free (type);
    g_strfreev (name);
  }
  g_strfreev (fakes);
  return TRUE;
}

GST_PLUGIN_DEFINE (GST_VERSION_MAJOR, GST_VERSION_MINOR, fake, "decoders that misbehave", plugin_init, "1.0", "MIT/X11", "fake", "https://example.org")
